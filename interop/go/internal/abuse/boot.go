package abuse

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/net/ipv4"

	"github.com/wetware/casm/interop/go/internal/wire"
)

// datagrams sends one datagram for every time, and counts no answers.
func datagrams(ctx context.Context, p Params, next func(i int) ([]byte, error)) (int, error) {
	conn, err := net.Dial("udp", p.Boot)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	for i := range p.Times {
		data, err := next(i)
		if err != nil {
			return i, err
		}
		// A refused port shows as an error of the next write.
		_, _ = conn.Write(data)
		if i%64 == 63 {
			// A burst that overflows the receiver's buffer abuses nobody.
			select {
			case <-ctx.Done():
				return i, ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
	}
	return p.Times, nil
}

// freshIdentity is one that nobody knows.
func freshIdentity() (crypto.PrivKey, peer.ID, error) {
	key, err := freshKey()
	if err != nil {
		return nil, "", err
	}
	id, err := peer.IDFromPrivateKey(key)
	return key, id, err
}

func freshRequest(ns string) ([]byte, error) {
	key, id, err := freshIdentity()
	if err != nil {
		return nil, err
	}
	return wire.SealPacket(key, &wire.Packet{Kind: wire.Request, Peer: id, Namespace: ns})
}

// bootAnswers answers in a multicast group, in the name of peers that don't
// exist: what is asked at once, with its nonce and from every address of the
// interface; and without end what is not, with half of the signatures wrong.
func bootAnswers(ctx context.Context, p Params) (int, error) {
	group, err := net.ResolveUDPAddr("udp4", p.Boot)
	if err != nil {
		return 0, err
	}
	iface, err := net.InterfaceByName("eth0")
	if err != nil {
		return 0, err
	}
	conns, err := fromEveryAddress(iface)
	if err != nil {
		return 0, err
	}
	for _, conn := range conns {
		defer conn.Close()
	}
	heard, err := net.ListenMulticastUDP("udp4", iface, group)
	if err != nil {
		return 0, err
	}
	defer heard.Close()
	go echo(heard, group, conns, p.Namespace)
	for i := range p.Times {
		data, err := falseAnswer(p.Namespace, 0)
		if err != nil {
			return i, err
		}
		if i%2 == 1 {
			data[len(data)-1] ^= 1
		}
		_, _ = conns[0].WriteTo(data, group)
		select {
		case <-ctx.Done():
			return i, nil
		case <-time.After(time.Millisecond):
		}
	}
	return p.Times, nil
}

// fromEveryAddress gives a socket for each IPv4 address of an interface.
func fromEveryAddress(iface *net.Interface) ([]net.PacketConn, error) {
	addrs, err := iface.Addrs()
	if err != nil {
		return nil, err
	}
	var conns []net.PacketConn
	for _, addr := range addrs {
		ip, ok := addr.(*net.IPNet)
		if !ok || ip.IP.To4() == nil {
			continue
		}
		conn, err := net.ListenPacket("udp4", net.JoinHostPort(ip.IP.String(), "0"))
		if err != nil {
			return nil, err
		}
		if err := ipv4.NewPacketConn(conn).SetMulticastInterface(iface); err != nil {
			return nil, err
		}
		conns = append(conns, conn)
	}
	if len(conns) == 0 {
		return nil, fmt.Errorf("%s has no IPv4 address", iface.Name)
	}
	return conns, nil
}

// echo answers every survey that is heard, until the socket is closed: as
// another peer from each address.
func echo(heard net.PacketConn, group net.Addr, conns []net.PacketConn, ns string) {
	buf := make([]byte, wire.MaxDatagram)
	for {
		n, _, err := heard.ReadFrom(buf)
		if err != nil {
			return
		}
		asked, err := wire.OpenPacket(buf[:n])
		if err != nil || asked.Kind != wire.Survey {
			continue
		}
		for _, conn := range conns {
			if data, err := falseAnswer(ns, asked.Nonce); err == nil {
				_, _ = conn.WriteTo(data, group)
			}
		}
	}
}

// falseAnswer is that of a peer that doesn't exist.
func falseAnswer(ns string, nonce uint64) ([]byte, error) {
	key, id, err := freshIdentity()
	if err != nil {
		return nil, err
	}
	// Nobody has the address.
	addr := ma.StringCast("/ip4/10.77.0.250/tcp/4001")
	return wire.SealPacket(key, &wire.Packet{
		Kind: wire.Response, Peer: id, Namespace: ns, Nonce: nonce, Addrs: []ma.Multiaddr{addr},
	})
}

// bootIdentities asks in the name of many peers that don't exist.
func bootIdentities(ctx context.Context, p Params) (int, error) {
	return datagrams(ctx, p, func(int) ([]byte, error) { return freshRequest(p.Namespace) })
}

// bootGarbage sends good requests with a few bytes changed, cut requests, and
// noise.
func bootGarbage(ctx context.Context, p Params) (int, error) {
	good, err := freshRequest(p.Namespace)
	if err != nil {
		return 0, err
	}
	return datagrams(ctx, p, func(i int) ([]byte, error) {
		data := append([]byte(nil), good...)
		switch i % 3 {
		case 0:
			for range 1 + rand.IntN(4) {
				data[rand.IntN(len(data))] = byte(rand.Uint32())
			}
		case 1:
			data = data[:rand.IntN(len(data))]
		case 2:
			data = make([]byte, rand.IntN(wire.MaxDatagram))
			for j := range data {
				data[j] = byte(rand.Uint32())
			}
		}
		return data, nil
	})
}
