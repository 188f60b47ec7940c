package abuse

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/wetware/casm/interop/go/internal/wire"
)

const (
	// pace is how long an offender waits between two offences, so that it can
	// be counted how many the target took.
	pace = 100 * time.Millisecond
	// patience is how long a target has to cut an offender off, when it has
	// done all.
	patience = 10 * time.Second
	// tolerated is how long a connection may be there before it is closed,
	// when the offender is to be refused.
	tolerated = time.Second
)

// offend offends until the target has closed the connection, and says how often
// it took. It fails if the target doesn't close it.
func offend(ctx context.Context, p Params, offence func(s *speaker, i int) error) (int, error) {
	s, err := newSpeaker(ctx, p)
	if err != nil {
		return 0, err
	}
	defer s.close()
	return s.offend(ctx, p.Times, offence)
}

func (s *speaker) offend(ctx context.Context, times int, offence func(s *speaker, i int) error) (int, error) {
	done := 0
	for done < times && !s.cutOff() {
		if err := offence(s, done); err != nil && !s.renew(ctx) {
			break
		}
		done++
		pause(ctx, pace)
	}
	for end := time.Now().Add(patience); !s.cutOff(); pause(ctx, pace) {
		if time.Now().After(end) || ctx.Err() != nil {
			return done, fmt.Errorf("after %d offences the connection is still there", done)
		}
	}
	return done, nil
}

func (s *speaker) cutOff() bool {
	return s.host.Network().Connectedness(s.target) != network.Connected
}

// renew opens another stream, where the target has closed the one before but
// not the connection.
func (s *speaker) renew(ctx context.Context) bool {
	// It may just be about to close the connection, too.
	pause(ctx, pace)
	if s.cutOff() {
		return false
	}
	stream, err := s.host.NewStream(ctx, s.target, meshsub)
	if err != nil {
		return false
	}
	s.stream = stream
	return true
}

// forge gives a message in a peer's name, which that one has not signed.
func forge(from peer.ID, topic string, seqno, data []byte) *pb.Message {
	signature := make([]byte, 64)
	for i := range signature {
		signature[i] = byte(rand.Uint32())
	}
	return &pb.Message{From: []byte(from), Data: data, Seqno: seqno, Topic: &topic, Signature: signature}
}

// badSignatures publishes what nobody has signed. Cut off, it must not be taken
// back, neither under its own name nor under another from the same address.
func badSignatures(ctx context.Context, p Params) (int, error) {
	s, err := newSpeaker(ctx, p)
	if err != nil {
		return 0, err
	}
	defer s.close()
	done, err := s.offend(ctx, p.Times, func(s *speaker, _ int) error {
		key, err := freshKey()
		if err != nil {
			return err
		}
		from, err := peer.IDFromPrivateKey(key)
		if err != nil {
			return err
		}
		data, err := honest(rand.Uint64())
		if err != nil {
			return err
		}
		return s.send(&pb.RPC{Publish: []*pb.Message{forge(from, s.topic, s.next(), data)}})
	})
	if err != nil {
		return done, err
	}
	info, err := peer.AddrInfoFromString(p.Target)
	if err != nil {
		return done, err
	}
	// A refusal may come after the handshake.
	if s.host.Connect(ctx, *info) == nil {
		pause(ctx, tolerated)
		if !s.cutOff() {
			return done, errors.New("it is taken back")
		}
	}
	if other, err := newAttacker(ctx, p, meshsub); err == nil {
		defer other.close()
		pause(ctx, tolerated)
		if other.host.Network().Connectedness(other.target) == network.Connected {
			return done, errors.New("another one from its address is taken")
		}
	}
	return done, nil
}

// malformedFrames writes frames that are none.
func malformedFrames(ctx context.Context, p Params) (int, error) {
	frames := [][]byte{
		// A field that is longer than the frame.
		{4, 0x12, 100, 1, 2},
		// An unknown wire type.
		{2, 0x0f, 0},
		// A number without an end, where the length stands.
		bytes.Repeat([]byte{0xff}, 11),
		// A frame that is longer than any may be.
		binary.AppendUvarint(nil, 1<<30),
	}
	return offend(ctx, p, func(s *speaker, i int) error {
		_, err := s.stream.Write(frames[i%len(frames)])
		return err
	})
}

// crowd is how many peers it takes to fill a target's mesh.
const crowd = 12

// graftInBackoff asks for a place in a mesh that others have filled, and does
// not wait for as long as the target then says.
func graftInBackoff(ctx context.Context, p Params) (int, error) {
	for range crowd {
		s, err := newSpeaker(ctx, p)
		if err != nil {
			return 0, err
		}
		defer s.close()
		if err := s.graft(); err != nil {
			return 0, err
		}
	}
	pause(ctx, pace)
	return offend(ctx, p, func(s *speaker, _ int) error { return s.graft() })
}

func (s *speaker) graft() error {
	return s.send(&pb.RPC{Control: &pb.ControlMessage{Graft: []*pb.ControlGraft{{TopicID: &s.topic}}}})
}

// pruneUnjoined prunes the target from meshes of topics that it has not joined.
func pruneUnjoined(ctx context.Context, p Params) (int, error) {
	return offend(ctx, p, func(s *speaker, i int) error {
		topic := fmt.Sprintf("nobody-%d", i)
		return s.send(&pb.RPC{Control: &pb.ControlMessage{Prune: []*pb.ControlPrune{{TopicID: &topic}}}})
	})
}

// furtherStreams opens one stream after the other, and keeps them.
func furtherStreams(ctx context.Context, p Params) (int, error) {
	return offend(ctx, p, func(s *speaker, _ int) error {
		stream, err := s.host.NewStream(ctx, s.target, meshsub)
		if err != nil {
			return err
		}
		// An empty frame: the protocol is negotiated by what is written first.
		_, err = stream.Write([]byte{0})
		return err
	})
}

// brokenPromises offers what it hasn't.
func brokenPromises(ctx context.Context, p Params) (int, error) {
	return offend(ctx, p, func(s *speaker, _ int) error {
		key, err := freshKey()
		if err != nil {
			return err
		}
		from, err := peer.IDFromPrivateKey(key)
		if err != nil {
			return err
		}
		return s.send(s.offer(string(from) + string(s.next())))
	})
}

func (s *speaker) offer(id string) *pb.RPC {
	return &pb.RPC{Control: &pb.ControlMessage{
		Ihave: []*pb.ControlIHave{{TopicID: &s.topic, MessageIDs: []string{id}}},
	}}
}

// asksOf is how often an id is asked for: less than a message is kept.
const asksOf = 20

// asksAgain asks for the same ids over and over. Another peer has told of them.
func asksAgain(ctx context.Context, p Params) (int, error) {
	teller, err := newSpeaker(ctx, p)
	if err != nil {
		return 0, err
	}
	defer teller.close()
	var id string
	return offend(ctx, p, func(s *speaker, i int) error {
		if i%asksOf == 0 {
			message, err := stranger(teller.topic, wire.DefaultTTL, teller.next(), fmt.Sprintf("told-%d", i))
			if err != nil {
				return err
			}
			id = wire.MessageID(message)
			if err := teller.send(&pb.RPC{Publish: []*pb.Message{message}}); err != nil {
				return err
			}
			pause(ctx, pace)
		}
		return s.send(&pb.RPC{Control: &pb.ControlMessage{
			Iwant: []*pb.ControlIWant{{MessageIDs: []string{id}}},
		}})
	})
}

// manyTopics subscribes to 100 more topics each time.
func manyTopics(ctx context.Context, p Params) (int, error) {
	return offend(ctx, p, func(s *speaker, i int) error {
		subscribe, rpc := true, &pb.RPC{}
		for j := range 100 {
			topic := fmt.Sprintf("topic-%d-%d", i, j)
			rpc.Subscriptions = append(rpc.Subscriptions,
				&pb.RPC_SubOpts{Subscribe: &subscribe, Topicid: &topic})
		}
		return s.send(rpc)
	})
}

// forged gives messages of a victim that it has not sent, or not so, each from a
// fresh identity that offers the same id besides.
func forged(ctx context.Context, p Params) (int, error) {
	victim, err := peer.Decode(p.Victim)
	if err != nil {
		return 0, err
	}
	seqno := binary.BigEndian.AppendUint64(nil, p.Seq)
	for i := range p.Times {
		data, err := wire.EncodeHeartbeat(wire.Heartbeat{
			TTL: wire.DefaultTTL, Server: rand.Uint64(), Host: fmt.Sprintf("forged-%d", i),
		})
		if err != nil {
			return i, err
		}
		s, err := newSpeaker(ctx, p)
		if err != nil {
			return i, err
		}
		rpc := s.offer(string(victim) + string(seqno))
		rpc.Publish = []*pb.Message{forge(victim, s.topic, seqno, data)}
		if err := s.send(rpc); err != nil {
			s.close()
			return i, err
		}
		// Nothing tells when it has been read, and a closed connection would
		// throw away what has not. So it stays, with the offer it made.
		time.AfterFunc(patience, s.close)
	}
	pause(ctx, pace)
	return p.Times, nil
}

// stranger gives a good heartbeat of a peer that doesn't exist.
func stranger(topic string, ttl time.Duration, seqno []byte, host string) (*pb.Message, error) {
	key, err := freshKey()
	if err != nil {
		return nil, err
	}
	data, err := wire.EncodeHeartbeat(wire.Heartbeat{TTL: ttl, Server: rand.Uint64(), Host: host})
	if err != nil {
		return nil, err
	}
	return wire.SignMessage(key, topic, seqno, data)
}

const (
	// burstTime is how long it takes to publish all of a burst.
	burstTime = 3 * time.Second
	// burstTTL is longer than anybody looks at what it brought.
	burstTTL = 10 * time.Minute
	// perFrame is how many messages of a burst are sent at a time.
	perFrame = 20
)

// burst publishes good heartbeats of as many peers as it is told to, evenly over
// three seconds, and stays.
func burst(ctx context.Context, p Params) (int, error) {
	s, err := newSpeaker(ctx, p)
	if err != nil {
		return 0, err
	}
	defer s.close()
	var frames []*pb.RPC
	for i := range p.Times {
		message, err := stranger(s.topic, burstTTL, s.next(), fmt.Sprintf("burst-%d", i))
		if err != nil {
			return 0, err
		}
		if i%perFrame == 0 {
			frames = append(frames, &pb.RPC{})
		}
		last := frames[len(frames)-1]
		last.Publish = append(last.Publish, message)
	}
	begin := time.Now()
	for i, frame := range frames {
		pause(ctx, time.Until(begin.Add(burstTime*time.Duration(i)/time.Duration(len(frames)))))
		if err := s.send(frame); err != nil {
			return i * perFrame, err
		}
	}
	pause(ctx, p.Hold)
	if s.cutOff() {
		return p.Times, errors.New("it is cut off")
	}
	return p.Times, nil
}

const (
	// floodTick is how often a flood is written.
	floodTick = 10 * time.Millisecond
	// floodSources is for how many peers that don't exist it speaks.
	floodSources = 64
)

// messageFlood publishes good heartbeats, so many in a second for as long as it is
// told to: half of them its own, and half of peers that don't exist. It fails if it
// is cut off: nothing that it says is wrong.
func messageFlood(ctx context.Context, p Params) (int, error) {
	s, err := newSpeaker(ctx, p)
	if err != nil {
		return 0, err
	}
	defer s.close()
	data, err := honest(rand.Uint64())
	if err != nil {
		return 0, err
	}
	keys := []crypto.PrivKey{}
	for range floodSources {
		key, err := freshKey()
		if err != nil {
			return 0, err
		}
		keys = append(keys, key)
	}
	begin, done := time.Now(), 0
	for end := begin.Add(p.Hold); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, floodTick) {
		rpc := &pb.RPC{}
		due := int(time.Since(begin).Seconds() * float64(p.Times))
		for ; done < due; done++ {
			key := s.key
			if done%2 == 1 {
				key = keys[done/2%floodSources]
			}
			message, err := wire.SignMessage(key, s.topic, s.next(), data)
			if err != nil {
				return done, err
			}
			rpc.Publish = append(rpc.Publish, message)
		}
		if err := s.send(rpc); err != nil {
			return done, err
		}
	}
	if s.cutOff() {
		return done, errors.New("it is cut off")
	}
	return done, nil
}
