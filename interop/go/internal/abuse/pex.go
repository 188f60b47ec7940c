package abuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/wetware/casm/interop/go/internal/wire"
)

// floodRecords is the number of records in a flooded round.
const floodRecords = 10_000

// fakeAddr is in a block that is reserved for documentation.
var fakeAddr = ma.StringCast("/ip4/192.0.2.1/tcp/9")

// fakes signs the records of peers that don't exist.
func fakes(n int) ([][]byte, error) {
	list := make([][]byte, n)
	for i := range list {
		key, err := freshKey()
		if err != nil {
			return nil, err
		}
		if list[i], err = wire.SignRecord(key, []ma.Multiaddr{fakeAddr}); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// rounds opens a pex stream for every time, writes to it, and reads what the
// target says until it ends. Each time it is somebody else who does so, because
// the target answers one peer only now and then.
func rounds(ctx context.Context, p Params, write func(w wire.GossipWriter, own []byte, i int) error) (int, error) {
	for i := range p.Times {
		if err := round(ctx, p, func(w wire.GossipWriter, own []byte) error { return write(w, own, i) }); err != nil {
			return i, err
		}
	}
	return p.Times, nil
}

func round(ctx context.Context, p Params, write func(w wire.GossipWriter, own []byte) error) error {
	a, err := newAttacker(ctx, p)
	if err != nil {
		return err
	}
	defer a.close()
	own, err := wire.SignRecord(a.key, []ma.Multiaddr{fakeAddr})
	if err != nil {
		return err
	}
	stream, err := a.host.NewStream(ctx, a.target, wire.ProtocolID(p.Namespace, "pex"))
	if err != nil {
		return err
	}
	// A target that has closed its half may leave the rest of ours unread.
	_ = stream.SetDeadline(time.Now().Add(max(p.Hold, time.Second)))
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, stream)
	}()
	w, err := wire.NewGossipWriter(stream)
	if err != nil {
		return err
	}
	// The target may reset the stream at any moment, which is its right.
	_ = errors.Join(write(w, own), w.Close(), stream.CloseWrite())
	<-drained
	_ = stream.Reset()
	return nil
}

// pexFlood pushes far more records than a round may have.
func pexFlood(ctx context.Context, p Params) (int, error) {
	records, err := fakes(floodRecords)
	if err != nil {
		return 0, err
	}
	return rounds(ctx, p, func(w wire.GossipWriter, own []byte, _ int) error {
		for _, envelope := range records {
			if err := w.Write(1, envelope); err != nil {
				return err
			}
		}
		return w.Write(0, own)
	})
}

// pexHop pushes records with the highest hop there is.
func pexHop(ctx context.Context, p Params) (int, error) {
	records, err := fakes(8)
	if err != nil {
		return 0, err
	}
	return rounds(ctx, p, func(w wire.GossipWriter, own []byte, _ int) error {
		for _, envelope := range records {
			if err := w.Write(^uint64(0), envelope); err != nil {
				return err
			}
		}
		return w.Write(0, own)
	})
}

// pexAddrs pushes records of as many addresses as one may have: ports of the
// target's own machine, many of one host, names.
func pexAddrs(ctx context.Context, p Params) (int, error) {
	var addrs []ma.Multiaddr
	for port := 1; port <= 20; port++ {
		addrs = append(addrs, ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)))
	}
	for port := 1; port <= 40; port++ {
		addrs = append(addrs, ma.StringCast(fmt.Sprintf("/ip4/192.0.2.1/tcp/%d", port)))
	}
	for i := range 4 {
		addrs = append(addrs, ma.StringCast(fmt.Sprintf("/dns/victim-%d.invalid/tcp/1", i)))
	}
	return rounds(ctx, p, func(w wire.GossipWriter, own []byte, _ int) error {
		for range 8 {
			key, err := freshKey()
			if err != nil {
				return err
			}
			envelope, err := wire.SignRecord(key, addrs)
			if err != nil {
				return err
			}
			if err := w.Write(1, envelope); err != nil {
				return err
			}
		}
		return w.Write(0, own)
	})
}

// pexLast breaks the rule about the last record in every way.
func pexLast(ctx context.Context, p Params) (int, error) {
	records, err := fakes(1)
	if err != nil {
		return 0, err
	}
	other := records[0]
	return rounds(ctx, p, func(w wire.GossipWriter, own []byte, i int) error {
		switch i % 6 {
		case 0: // another's
			return w.Write(0, other)
		case 1: // the own one with a hop
			return w.Write(1, own)
		case 2: // the own one, and another's behind it
			return errors.Join(w.Write(0, own), w.Write(1, other))
		case 3: // one whose signature is wrong
			broken := append([]byte(nil), own...)
			broken[len(broken)-1] ^= 1
			return w.Write(0, broken)
		case 4: // bytes that are no message
			return w.Raw([]byte("not Cap'n Proto at all"))
		}
		return nil // none
	})
}

// served gives those of the protocols of a namespace that the target says it
// serves.
func (a *attacker) served(ns string, names ...string) ([]protocol.ID, error) {
	ids := make([]protocol.ID, len(names))
	for i, name := range names {
		ids[i] = wire.ProtocolID(ns, name)
	}
	served, err := a.host.Peerstore().SupportsProtocols(a.target, ids...)
	if err == nil && len(served) == 0 {
		err = fmt.Errorf("the target serves none of %v", ids)
	}
	return served, err
}

// stall opens streams, writes one byte, and holds them.
func stall(ctx context.Context, p Params) (int, error) {
	a, err := newAttacker(ctx, p)
	if err != nil {
		return 0, err
	}
	defer a.close()
	protocols, err := a.served(p.Namespace, "pex", "view", "view/packed", "view/lz4", "view/packed/lz4")
	if err != nil {
		return 0, err
	}
	var open int
	var refused []error
	for i := range p.Times {
		stream, err := a.host.NewStream(ctx, a.target, protocols[i%len(protocols)])
		if err == nil {
			// The first byte of a good LZ4 frame, and of a long message.
			_, err = stream.Write([]byte{0x04})
		}
		if err != nil {
			refused = append(refused, err)
			continue
		}
		open++
	}
	if open == 0 {
		return 0, fmt.Errorf("no stream could be opened: %w", errors.Join(refused...))
	}
	select {
	case <-ctx.Done():
	case <-time.After(p.Hold):
	}
	return open, nil
}

// bombBytes is what one bomb grows to.
const bombBytes = 1 << 30

// lz4Bomb sends frames that grow a thousandfold, on every protocol that reads
// LZ4.
func lz4Bomb(ctx context.Context, p Params) (int, error) {
	a, err := newAttacker(ctx, p)
	if err != nil {
		return 0, err
	}
	defer a.close()
	protocols, err := a.served(p.Namespace, "pex", "view/lz4", "view/packed/lz4")
	if err != nil {
		return 0, err
	}
	for i := range p.Times {
		stream, err := a.host.NewStream(ctx, a.target, protocols[i%len(protocols)])
		if err != nil {
			return i, err
		}
		explode(stream, max(p.Hold, time.Second))
		_ = stream.Reset()
	}
	return p.Times, nil
}

// explode writes until the bomb is out, the target has had enough, or the time
// is over.
func explode(stream network.Stream, limit time.Duration) {
	_ = stream.SetDeadline(time.Now().Add(limit))
	w, err := wire.NewGossipWriter(stream)
	if err != nil {
		return
	}
	zeros := make([]byte, 1<<20)
	for range bombBytes / len(zeros) {
		if w.Raw(zeros) != nil {
			return
		}
	}
	_ = errors.Join(w.Close(), stream.CloseWrite())
	// The end of the target's half says that it has dealt with ours.
	_, _ = io.Copy(io.Discard, stream)
}
