package abuse

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"

	"github.com/wetware/casm/interop/go/internal/wire"
)

// The kinds of frames of anti-entropy.
const (
	syncHeader = 0
	syncRanges = 1
	syncWanted = 2
	syncHanded = 3
	syncEnd    = 4
)

const (
	// syncTable is how many peers the target knows when it is asked for all of
	// them: more bytes than go unread.
	syncTable = 1024
	// syncHandedMost is the number of heartbeats that an exchange may hand over.
	syncHandedMost = 4096
	// syncPartners are the identities that ask.
	syncPartners = 8
	// syncPause is how long a target may take to verify what it was handed: till
	// then it takes nothing more from the same peer.
	syncPause = 3 * time.Second
)

func syncProtocol(ns string) protocol.ID { return protocol.ID("/casm/1.0.0/" + ns + "/sync/2") }

func syncFrame(kind byte, content ...byte) []byte {
	frame := binary.BigEndian.AppendUint32(nil, uint32(1+len(content)))
	return append(append(frame, kind), content...)
}

// askForAll says that of all ids there are none here: a key for sums in the header,
// and an empty list for the range of all.
func askForAll() []byte {
	key := append([]byte{0, 2, 0, 16}, make([]byte, 16)...)
	ranges := append(make([]byte, 8), 0x80, 0)
	begin := append(syncFrame(syncHeader, key...), syncFrame(syncRanges, ranges...)...)
	return append(begin, syncFrame(syncWanted)...)
}

// fillTable publishes the long heartbeats of peers that don't exist.
func fillTable(ctx context.Context, p Params) error {
	p.Times = syncTable
	_, err := repeat(ctx, p, func(s *speaker, i int) error {
		key, err := freshKey()
		if err != nil {
			return err
		}
		data, err := wire.EncodeHeartbeat(wire.Heartbeat{
			TTL: time.Minute, Server: rand.Uint64(), Host: fmt.Sprintf("sybil-%d", i),
			Meta: []string{"long=" + strings.Repeat("0123456789", 60)},
		})
		if err != nil {
			return err
		}
		return s.publish(key, s.next(), data)
	})
	return err
}

// syncSlow has many peers at once ask for the whole table, again and again, and
// read it at a byte a second.
func syncSlow(ctx context.Context, p Params) (int, error) {
	if err := fillTable(ctx, p); err != nil {
		return 0, err
	}
	until, cancel := context.WithTimeout(ctx, p.Hold)
	defer cancel()
	return together(p.Times, func(i int) error {
		a, err := newAttacker(ctx, p)
		if err != nil {
			return err
		}
		defer a.close()
		for until.Err() == nil {
			stream, err := a.host.NewStream(until, a.target, syncProtocol(p.Namespace))
			if err == nil {
				_, err = stream.Write(askForAll())
			}
			if err != nil {
				pause(until, time.Second)
				continue
			}
			readSlowly(until, stream)
			_ = stream.Reset()
		}
		return nil
	})
}

func readSlowly(ctx context.Context, stream network.Stream) {
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	defer stop()
	for one := make([]byte, 1); ctx.Err() == nil; pause(ctx, time.Second) {
		if _, err := stream.Read(one); err != nil {
			return
		}
	}
}

func pause(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}

// together does something so many times at once, and counts what came to
// something.
func together(n int, do func(i int) error) (int, error) {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		}
	}
	if done == 0 {
		return 0, errors.Join(errs...)
	}
	return done, nil
}

// syncAgain asks for the whole table as often as it can, reads it as fast as it
// comes, and asks again. Each of a few peers does so.
func syncAgain(ctx context.Context, p Params) (int, error) {
	if err := fillTable(ctx, p); err != nil {
		return 0, err
	}
	_, err := together(syncPartners, func(int) error {
		a, err := newAttacker(ctx, p)
		if err != nil {
			return err
		}
		defer a.close()
		for range p.Times / syncPartners {
			stream, err := a.host.NewStream(ctx, a.target, syncProtocol(p.Namespace))
			if err != nil {
				return err
			}
			exchange(stream, append(askForAll(), syncFrame(syncEnd, 0)...))
		}
		return nil
	})
	return p.Times / syncPartners * syncPartners, err
}

// exchange says what it says, and reads until the target ends it.
func exchange(stream network.Stream, say []byte) {
	_ = stream.SetDeadline(time.Now().Add(30 * time.Second))
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, stream)
	}()
	// The target may refuse it at any moment.
	_, err := stream.Write(say)
	_ = errors.Join(err, stream.CloseWrite())
	<-read
	_ = stream.Reset()
}

// syncSybils hands over the good heartbeats of peers that don't exist, as many
// as an exchange may, again and again. All come from one peer.
func syncSybils(ctx context.Context, p Params) (int, error) {
	a, err := newAttacker(ctx, p)
	if err != nil {
		return 0, err
	}
	defer a.close()
	for i := range p.Times {
		say := askForAll()
		for j := range syncHandedMost {
			handed, err := sybil(p.Namespace, fmt.Sprintf("sybil-%d-%d", i, j))
			if err != nil {
				return i, err
			}
			say = append(say, syncFrame(syncHanded, append(make([]byte, 4), handed...)...)...)
		}
		stream, err := a.host.NewStream(ctx, a.target, syncProtocol(p.Namespace))
		if err != nil {
			return i, err
		}
		exchange(stream, append(say, syncFrame(syncEnd, 0)...))
		pause(ctx, syncPause)
	}
	return p.Times, nil
}

// sybil is the signed message of a peer that doesn't exist.
func sybil(ns, host string) ([]byte, error) {
	key, err := freshKey()
	if err != nil {
		return nil, err
	}
	data, err := wire.EncodeHeartbeat(wire.Heartbeat{
		TTL: time.Minute, Server: rand.Uint64(), Host: host,
	})
	if err != nil {
		return nil, err
	}
	seqno := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
	message, err := wire.SignMessage(key, ns, seqno, data)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(message)
}
