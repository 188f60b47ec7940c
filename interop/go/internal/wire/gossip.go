package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"capnproto.org/go/capnp/v3"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/pierrec/lz4/v4"

	"github.com/wetware/casm/interop/go/internal/schema/pex"
)

// MaxGossip is the most bytes of one record's message, unpacked.
const MaxGossip = 2048

// MaxRound is the most records that are read in one round.
const MaxRound = 256

// Gossip is one record of a peer-exchange round.
type Gossip struct {
	// Hop counts the rounds since the record left the peer it describes.
	Hop      uint64
	Envelope []byte
	Record   *peer.PeerRecord
}

// NewGossip takes a signed peer record.
func NewGossip(envelope []byte) (Gossip, error) {
	var rec peer.PeerRecord
	e, err := record.ConsumeTypedEnvelope(envelope, &rec)
	if err != nil {
		return Gossip{}, err
	}
	if !rec.PeerID.MatchesPublicKey(e.PublicKey) {
		return Gossip{}, errors.New("the peer record names another peer than its signer")
	}
	return Gossip{Envelope: envelope, Record: &rec}, nil
}

// GossipWriter writes one direction of a round.
type GossipWriter struct{ lz *lz4.Writer }

// NewGossipWriter starts a direction.
func NewGossipWriter(w io.Writer) (GossipWriter, error) {
	lz := lz4.NewWriter(w)
	return GossipWriter{lz}, lz.Apply(lz4.BlockSizeOption(lz4.Block64Kb))
}

// Write adds a record.
func (w GossipWriter) Write(hop uint64, envelope []byte) error {
	data, err := pack(func(s *capnp.Segment) error {
		root, err := pex.NewRootGossip(s)
		if err != nil {
			return err
		}
		root.SetHop(hop)
		return root.SetEnvelope(envelope)
	})
	if err != nil {
		return err
	}
	_, err = w.lz.Write(data)
	return err
}

// Raw adds bytes to the frame as they are.
func (w GossipWriter) Raw(data []byte) error {
	_, err := w.lz.Write(data)
	return err
}

// Close ends the frame.
func (w GossipWriter) Close() error { return w.lz.Close() }

// ReadGossip reads one direction of a round to its end. It fails if the rules
// of a round are broken: no record, more than MaxRound, a bad one, or a hop
// that is zero anywhere but in the last.
func ReadGossip(r io.Reader) (view []Gossip, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed record: %v", r)
		}
	}()
	decoder := capnp.NewPackedDecoder(bufio.NewReader(lz4.NewReader(r)))
	decoder.MaxMessageSize = MaxGossip
	for {
		message, err := decoder.Decode()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return view, fmt.Errorf("record %d: %w", len(view), err)
		}
		if len(view) == MaxRound {
			return view, fmt.Errorf("more than %d records in a round", MaxRound)
		}
		g, err := readGossip(message)
		if err != nil {
			return view, fmt.Errorf("record %d: %w", len(view), err)
		}
		view = append(view, g)
	}
	return view, checkHops(view)
}

func readGossip(message *capnp.Message) (Gossip, error) {
	root, err := pex.ReadRootGossip(message)
	if err != nil {
		return Gossip{}, err
	}
	envelope, err := root.Envelope()
	if err != nil {
		return Gossip{}, err
	}
	g, err := NewGossip(append([]byte(nil), envelope...))
	g.Hop = root.Hop()
	return g, err
}

func checkHops(view []Gossip) error {
	if len(view) == 0 {
		return errors.New("a round without a record")
	}
	for i, g := range view {
		if last := i == len(view)-1; last != (g.Hop == 0) {
			return fmt.Errorf("record %d of %d has hop %d", i, len(view), g.Hop)
		}
	}
	return nil
}
