package abuse

import (
	"context"
	"math/rand/v2"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

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

func freshRequest(ns string) ([]byte, error) {
	key, err := freshKey()
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return wire.SealPacket(key, &wire.Packet{Kind: wire.Request, Peer: id, Namespace: ns})
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
