package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/libp2p/go-libp2p/core/crypto"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/wetware/casm/interop/go/internal/wire"
)

// bootSocket sends and receives boot packets.
type bootSocket struct {
	conn    net.PacketConn
	group   *net.UDPAddr
	limiter *rate.Limiter
}

// listenAny opens a socket to ask from.
func listenAny(addr bootAddr) (*bootSocket, error) {
	local := ":0"
	if addr.ip.IsLoopback() {
		local = netip.AddrPortFrom(addr.ip, 0).String()
	}
	conn, err := net.ListenPacket("udp", local)
	return &bootSocket{conn: conn, limiter: limiter(false)}, err
}

// listenFirst takes the first free port of the address's range. A block means
// all of this machine's addresses.
func listenFirst(addr bootAddr) (*bootSocket, error) {
	ip := addr.ip
	if addr.bits < ip.BitLen() {
		ip = netip.IPv4Unspecified()
		if addr.ip.Is6() {
			ip = netip.IPv6Unspecified()
		}
	}
	var failure error
	for p := range addr.ports {
		conn, err := net.ListenPacket("udp", netip.AddrPortFrom(ip, uint16(addr.port+p)).String())
		if err == nil {
			return &bootSocket{conn: conn, limiter: limiter(false)}, nil
		}
		failure = err
	}
	return nil, failure
}

// joinGroup opens a socket of a multicast group. Bound to the group's address,
// it gets nothing that was sent to another one.
func joinGroup(addr bootAddr) (*bootSocket, error) {
	if !addr.ip.Is4() || !addr.ip.IsMulticast() {
		return nil, fmt.Errorf("boot address %q: not an IPv4 multicast address", addr.text)
	}
	group := net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr.ip, uint16(addr.port)))
	config := net.ListenConfig{Control: shareAddress}
	conn, err := config.ListenPacket(context.Background(), "udp4", group.String())
	if err != nil {
		return nil, err
	}
	p := ipv4.NewPacketConn(conn)
	err = errors.Join(
		p.JoinGroup(addr.iface, group),
		p.SetMulticastInterface(addr.iface),
		p.SetMulticastLoopback(true),
	)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &bootSocket{conn: conn, group: group, limiter: limiter(true)}, nil
}

func shareAddress(_, _ string, raw syscall.RawConn) (err error) {
	controlErr := raw.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		)
	})
	return errors.Join(controlErr, err)
}

func (s *bootSocket) close() { _ = s.conn.Close() }

func (s *bootSocket) send(ctx context.Context, key crypto.PrivKey, p *wire.Packet, to net.Addr) error {
	data, err := wire.SealPacket(key, p)
	if err != nil {
		return err
	}
	if err := s.limiter.Wait(ctx); err != nil {
		return err
	}
	_, err = s.conn.WriteTo(data, to)
	return err
}

// receive hands over every datagram until the socket is closed.
func (s *bootSocket) receive(handle func(p *wire.Packet, size int, from net.Addr, err error)) {
	buffer := make([]byte, wire.MaxDatagram+1)
	for {
		n, from, err := s.conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// The answer to an earlier datagram, such as a refused port.
			continue
		}
		p, err := wire.OpenPacket(buffer[:n])
		handle(p, n, from, err)
	}
}
