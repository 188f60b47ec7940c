package peer

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/wetware/casm/interop/go/internal/pex"
	"github.com/wetware/casm/interop/go/internal/wire"
)

const pexTimeout = 30 * time.Second

// pexService exchanges records with peers, one round per stream.
type pexService struct {
	node *Node
	mu   sync.Mutex
	view *pex.View
}

func newPexService(n *Node) *pexService {
	source := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	s := &pexService{node: n, view: pex.New(n.host.ID(), pex.DefaultParams(), source)}
	n.host.SetStreamHandler(wire.ProtocolID(n.config.Namespace, "pex"), func(stream network.Stream) {
		s.round(stream, "in")
	})
	return s
}

func (s *pexService) items() []wire.Gossip {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view.Items()
}

// rounds starts a round with a peer of the view at every tick.
func (s *pexService) rounds(ctx context.Context) {
	tick := s.node.config.PexTick
	if tick <= 0 {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(tick/2 + rand.N(tick/2)):
		}
		if items := s.items(); len(items) > 0 {
			chosen := items[rand.IntN(len(items))].Record
			s.node.overlay.dial(ctx, peer.AddrInfo{ID: chosen.PeerID, Addrs: chosen.Addrs})
			_ = s.start(chosen.PeerID)
		} else if peers := s.node.host.Network().Peers(); len(peers) > 0 {
			_ = s.start(peers[rand.IntN(len(peers))])
		}
	}
}

// start does a round with a connected peer, and reports how it went.
func (s *pexService) start(id peer.ID) error {
	ctx, cancel := context.WithTimeout(s.node.ctx, pexTimeout)
	defer cancel()
	stream, err := s.node.host.NewStream(ctx, id, wire.ProtocolID(s.node.config.Namespace, "pex"))
	if err != nil {
		s.report(id, "out", 0, nil, err)
		return err
	}
	return s.round(stream, "out")
}

// round pushes and pulls at the same time.
func (s *pexService) round(stream network.Stream, direction string) error {
	defer stream.Close()
	_ = stream.SetDeadline(time.Now().Add(pexTimeout))
	s.mu.Lock()
	push := s.view.Push()
	s.mu.Unlock()

	pushed := make(chan error, 1)
	go func() { pushed <- s.push(stream, push) }()
	remote, err := wire.ReadGossip(stream)
	id := stream.Conn().RemotePeer()
	if err == nil && remote[len(remote)-1].Record.PeerID != id {
		err = errors.New("the last record is not the sender's")
	}
	if err != nil {
		_ = stream.Reset()
	}
	err = errors.Join(err, <-pushed)
	if err == nil {
		s.merge(remote)
	}
	s.report(id, direction, len(push)+1, remote, err)
	return err
}

func (s *pexService) push(stream network.Stream, view []wire.Gossip) error {
	own, err := s.node.ownRecord()
	if err != nil {
		return err
	}
	w, err := wire.NewGossipWriter(stream)
	if err != nil {
		return err
	}
	for _, g := range view {
		if err := w.Write(g.Hop, g.Envelope); err != nil {
			return err
		}
	}
	return errors.Join(w.Write(0, own), w.Close(), stream.CloseWrite())
}

func (s *pexService) merge(remote []wire.Gossip) {
	s.mu.Lock()
	before := ids(s.view.Items())
	s.view.Merge(remote)
	after := ids(s.view.Items())
	s.mu.Unlock()
	if !slices.Equal(before, after) {
		s.node.out.Emit("view-changed", Fields{"peers": after})
	}
}

func (s *pexService) report(id peer.ID, direction string, sent int, remote []wire.Gossip, err error) {
	received := make([]Fields, len(remote))
	for i, g := range remote {
		received[i] = Fields{
			"peer": g.Record.PeerID.String(), "hop": strconv.FormatUint(g.Hop, 10),
			"seq": strconv.FormatUint(g.Record.Seq, 10), "addrs": addrStrings(g.Record.Addrs),
		}
	}
	fields := Fields{
		"peer": id.String(), "direction": direction, "sent": sent,
		"received": received, "ok": err == nil,
	}
	if err != nil {
		fields["message"] = err.Error()
	}
	s.node.out.Emit("pex-round", fields)
}

func ids(view []wire.Gossip) []string {
	list := make([]string, len(view))
	for i, g := range view {
		list[i] = g.Record.PeerID.String()
	}
	slices.Sort(list)
	return list
}

// ownRecord signs where the node can be reached.
func (n *Node) ownRecord() ([]byte, error) {
	return wire.SignRecord(n.config.Key, n.host.Addrs())
}
