package peer

import (
	"encoding/binary"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	"github.com/wetware/casm/interop/go/internal/table"
	"github.com/wetware/casm/interop/go/internal/wire"
)

// forgedView is a view of peers that don't exist. What is wrong with the proof of
// each is its host.
type forgedView struct {
	all    []table.Record
	proofs map[peer.ID][]byte
}

func (v *forgedView) records() []table.Record      { return v.all }
func (v *forgedView) proof(of table.Record) []byte { return v.proofs[of.Peer] }

// forgeries has one record for each way to lie, and some that are as they should
// be.
func forgeries(ns string) (*forgedView, error) {
	now := time.Now()
	view := &forgedView{proofs: make(map[peer.ID][]byte)}
	for _, lie := range []struct {
		host string
		// proof makes one of the right one, or says something else with the key.
		proof func(s signer, right []byte) ([]byte, error)
		at    time.Time
	}{
		{"honest-1", asItIs, now},
		{"hearsay", func(signer, []byte) ([]byte, error) { return nil, nil }, now},
		// By the end of the signature, and in what is signed.
		{"forged", func(_ signer, right []byte) ([]byte, error) { return flip(right, len(right)-1), nil }, now},
		{"changed", func(_ signer, right []byte) ([]byte, error) { return flip(right, len(right)/2), nil }, now},
		{"truncated", func(_ signer, right []byte) ([]byte, error) { return right[:len(right)-1], nil }, now},
		{"noise", func(signer, []byte) ([]byte, error) { return []byte("no message"), nil }, now},
		// Good messages, but of another peer, another cluster, an earlier
		// time, or with another content.
		{"swapped", func(s signer, _ []byte) ([]byte, error) { return s.another().message() }, now},
		{"elsewhere", func(s signer, _ []byte) ([]byte, error) { s.topic = "elsewhere"; return s.message() }, now},
		{"stale", func(s signer, _ []byte) ([]byte, error) { s.seq -= uint64(time.Minute); return s.message() }, now},
		{"other", func(s signer, _ []byte) ([]byte, error) { s.beat.Meta = []string{"role=other"}; return s.message() }, now},
		// Nothing is wrong with it, but for its age.
		{"replayed", asItIs, now.Add(-time.Hour)},
		{"honest-2", asItIs, now},
	} {
		s := signer{topic: ns, seq: uint64(lie.at.UnixNano()), at: lie.at, beat: wire.Heartbeat{
			TTL: wire.DefaultTTL, Server: uint64(len(view.all) + 1), Host: lie.host,
			Meta: []string{"role=forged"},
		}}.another()
		right, err := s.message()
		if err != nil {
			return nil, err
		}
		id, err := peer.IDFromPrivateKey(s.key)
		if err != nil {
			return nil, err
		}
		if view.proofs[id], err = lie.proof(s, right); err != nil {
			return nil, err
		}
		view.all = append(view.all, table.Record{Peer: id, Seq: s.seq, Heartbeat: s.beat})
	}
	return view, nil
}

func asItIs(_ signer, right []byte) ([]byte, error) { return right, nil }

func flip(message []byte, at int) []byte {
	changed := append([]byte(nil), message...)
	changed[at] ^= 1
	return changed
}

// signer is what a peer says of itself.
type signer struct {
	key   crypto.PrivKey
	err   error
	topic string
	seq   uint64
	at    time.Time
	beat  wire.Heartbeat
}

// another is a new peer that says the same.
func (s signer) another() signer {
	s.key, _, s.err = crypto.GenerateEd25519Key(nil)
	return s
}

func (s signer) message() ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	data, err := wire.EncodeSentAt(s.beat, s.at)
	if err != nil {
		return nil, err
	}
	message, err := wire.SignMessage(s.key, s.topic, binary.BigEndian.AppendUint64(nil, s.seq), data)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(message)
}
