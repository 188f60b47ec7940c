package abuse

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/proto"

	"github.com/wetware/casm/interop/go/internal/wire"
)

const meshsub = protocol.ID("/meshsub/1.1.0")

// speaker speaks gossipsub on a stream of its own, because the library would
// refuse to send what an abuse sends.
type speaker struct {
	*attacker
	stream network.Stream
	topic  string
	seqno  uint64
}

func newSpeaker(ctx context.Context, p Params) (*speaker, error) {
	a, err := newAttacker(ctx, p, meshsub)
	if err != nil {
		return nil, err
	}
	stream, err := a.host.NewStream(ctx, a.target, meshsub)
	if err != nil {
		a.close()
		return nil, err
	}
	s := &speaker{a, stream, p.Namespace, uint64(time.Now().UnixNano())}
	subscribe := true
	err = s.send(&pb.RPC{Subscriptions: []*pb.RPC_SubOpts{{Subscribe: &subscribe, Topicid: &s.topic}}})
	if err != nil {
		a.close()
		return nil, err
	}
	return s, nil
}

func (s *speaker) send(rpc *pb.RPC) error {
	data, err := proto.Marshal(rpc)
	if err != nil {
		return err
	}
	_, err = s.stream.Write(append(binary.AppendUvarint(nil, uint64(len(data))), data...))
	return err
}

// next is the next sequence number.
func (s *speaker) next() []byte {
	s.seqno++
	return binary.BigEndian.AppendUint64(nil, s.seqno)
}

func (s *speaker) publish(key crypto.PrivKey, seqno, data []byte) error {
	message, err := wire.SignMessage(key, s.topic, seqno, data)
	if err != nil {
		return err
	}
	return s.send(&pb.RPC{Publish: []*pb.Message{message}})
}

// maxResets is how often a target may reset the stream before the abuse ends.
const maxResets = 20

// repeat speaks as often as it is told to, on one connection for as long as the
// target keeps it: a reset is its right, and is answered by a new identity.
func repeat(ctx context.Context, p Params, speak func(s *speaker, i int) error) (int, error) {
	s, err := newSpeaker(ctx, p)
	if err != nil {
		return 0, err
	}
	defer func() { s.close() }()
	for i, resets := 0, 0; i < p.Times; i++ {
		for {
			err := speak(s, i)
			if err == nil {
				break
			}
			if resets++; resets > maxResets {
				return i, err
			}
			next, err := newSpeaker(ctx, p)
			if err != nil {
				return i, err
			}
			s.close()
			s = next
		}
	}
	return p.Times, s.settle(ctx)
}

// settle leaves the target a moment to read: nothing on the wire tells when it
// has, and a closed connection would throw away what it hasn't.
func (s *speaker) settle(ctx context.Context) error {
	// A stream that the target has reset needs no end.
	_ = s.stream.CloseWrite()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(500 * time.Millisecond):
		return nil
	}
}

func honest(server uint64) ([]byte, error) {
	return wire.EncodeHeartbeat(wire.Heartbeat{
		TTL: wire.DefaultTTL, Server: server, Host: "attacker", Meta: []string{"role=attacker"},
	})
}

// heartbeatPointers publishes well-signed heartbeats whose pointers lie.
func heartbeatPointers(ctx context.Context, p Params) (int, error) {
	return repeat(ctx, p, func(s *speaker, i int) error {
		data, err := corruptHeartbeat(i)
		if err != nil {
			return err
		}
		return s.publish(s.key, s.next(), data)
	})
}

// seqnoLength publishes good heartbeats under sequence numbers of 7 and of
// other numbers of bytes, all but 8.
func seqnoLength(ctx context.Context, p Params) (int, error) {
	lengths := []int{7, 9, 0, 1, 4, 16, 1000}
	return repeat(ctx, p, func(s *speaker, i int) error {
		data, err := honest(rand.Uint64())
		if err != nil {
			return err
		}
		seqno := make([]byte, lengths[i%len(lengths)])
		for j := range seqno {
			seqno[j] = byte(rand.Uint32())
		}
		return s.publish(s.key, seqno, data)
	})
}

// serverClaim publishes heartbeats with the server number of another peer.
func serverClaim(ctx context.Context, p Params) (int, error) {
	return repeat(ctx, p, func(s *speaker, _ int) error {
		data, err := honest(p.Server)
		if err != nil {
			return err
		}
		return s.publish(s.key, s.next(), data)
	})
}

// identities publishes a good heartbeat of each of many peers that don't exist, who
// all ask to be kept for a day, and another one of each when the time is over. Then
// it stays for a quarter of the time.
func identities(ctx context.Context, p Params) (int, error) {
	keys := make([]crypto.PrivKey, p.Times)
	for i := range keys {
		var err error
		if keys[i], err = freshKey(); err != nil {
			return 0, err
		}
	}
	speak := func() (int, error) {
		return repeat(ctx, p, func(s *speaker, i int) error {
			data, err := wire.EncodeHeartbeat(wire.Heartbeat{
				TTL: 24 * time.Hour, Server: uint64(i), Host: fmt.Sprintf("sybil-%d", i),
			})
			if err != nil {
				return err
			}
			return s.publish(keys[i], s.next(), data)
		})
	}
	first, err := speak()
	if err != nil {
		return first, err
	}
	pause(ctx, p.Hold)
	second, err := speak()
	pause(ctx, p.Hold/4)
	return first + second, err
}

// escapes publishes heartbeats whose texts would colour, clear and reverse what a
// terminal shows, and names such addresses to whoever asks.
func escapes(ctx context.Context, p Params) (int, error) {
	done, err := repeat(ctx, p, func(s *speaker, i int) error {
		key, err := freshKey()
		if err != nil {
			return err
		}
		data, err := wire.EncodeHeartbeat(wire.Heartbeat{
			TTL: wire.DefaultTTL, Server: rand.Uint64(), Host: fmt.Sprintf("\x1b[31m\a\u202e%d", i),
			Meta: []string{"k=\x1b]0;title\a\r\u2028"},
		})
		if err != nil {
			return err
		}
		return s.publish(key, s.next(), data)
	})
	if err != nil {
		return done, err
	}
	named := append([]byte{0x35, 7}, "\x1b[2J\r\na"...) // dns
	addr, err := ma.NewMultiaddrBytes(append(named, 0x06, 0, 1))
	if err != nil {
		return done, err
	}
	return done, round(ctx, p, func(w wire.GossipWriter, own []byte) error {
		key, err := freshKey()
		if err != nil {
			return err
		}
		envelope, err := wire.SignRecord(key, []ma.Multiaddr{addr, fakeAddr})
		if err != nil {
			return err
		}
		return errors.Join(w.Write(1, envelope), w.Write(0, own))
	})
}

// ghosts publishes, for peers that are gone, heartbeats that they sent long ago.
func ghosts(ctx context.Context, p Params) (int, error) {
	return repeat(ctx, p, func(s *speaker, i int) error {
		key, err := freshKey()
		if err != nil {
			return err
		}
		data, err := wire.EncodeSentAt(wire.Heartbeat{
			TTL: wire.DefaultTTL, Server: rand.Uint64(), Host: fmt.Sprintf("ghost-%d", i),
		}, time.Now().Add(-time.Hour))
		if err != nil {
			return err
		}
		return s.publish(key, s.next(), data)
	})
}
