// Package pex keeps the view of the peer exchange. It has no clock, no
// randomness and no network of its own.
package pex

import (
	"math/rand/v2"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/wetware/casm/interop/go/internal/wire"
)

// Params are those of the protocol.
type Params struct {
	MaxView, Swap, Protect int
	Decay                  float64
}

// DefaultParams are what deployed nodes use.
func DefaultParams() Params {
	return Params{MaxView: 32, Swap: 10, Protect: 5, Decay: 0.005}
}

// View is the set of peers that a node gossips about.
type View struct {
	params Params
	self   peer.ID
	rand   *rand.Rand
	items  []wire.Gossip
}

// New makes an empty view.
func New(self peer.ID, params Params, rand *rand.Rand) *View {
	return &View{params: params, self: self, rand: rand}
}

// Items gives what the view holds.
func (v *View) Items() []wire.Gossip { return slices.Clone(v.items) }

// Push chooses what is sent in a round, the own record excepted: youngest
// shuffled first, then the oldest.
func (v *View) Push() []wire.Gossip {
	items := slices.Clone(v.items)
	sortByHop(items)
	head := items[:len(items)-min(v.params.Protect, len(items))]
	oldest := items[len(head):]
	v.rand.Shuffle(len(head), func(i, j int) { head[i], head[j] = head[j], head[i] })
	n := min(len(items), v.params.MaxView/2-1)
	return append(head[:max(0, n-len(oldest))], oldest...)
}

// Merge takes in what a round brought.
func (v *View) Merge(remote []wire.Gossip) {
	p := v.params
	items := v.unique(append(slices.Clone(v.items), remote...))
	if over := len(items) - p.MaxView; over > 0 {
		items = items[min(p.Swap, over):]
	}
	sortByHop(items)

	oldest := items[len(items)-min(p.Protect, p.MaxView, len(items)):]
	items = items[:len(items)-len(oldest)]
	for over := len(items) + len(oldest) - p.MaxView; over > 0 && len(oldest) > 0; over-- {
		if v.rand.Float64() < p.Decay {
			oldest = oldest[:len(oldest)-1]
		}
	}
	v.rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	items = append(items[:min(len(items), p.MaxView-len(oldest)):len(items)], oldest...)

	v.items = slices.Clone(items)
	for i := range v.items {
		if v.items[i].Hop != ^uint64(0) {
			v.items[i].Hop++
		}
	}
}

// unique keeps of each peer the record with the higher sequence number, then
// the lower hop, and drops the own one.
func (v *View) unique(items []wire.Gossip) (unique []wire.Gossip) {
	at := make(map[peer.ID]int)
	for _, g := range items {
		id := g.Record.PeerID
		i, known := at[id]
		switch {
		case id == v.self:
		case !known:
			at[id] = len(unique)
			unique = append(unique, g)
		case g.Record.Seq > unique[i].Record.Seq,
			g.Record.Seq == unique[i].Record.Seq && g.Hop < unique[i].Hop:
			unique[i] = g
		}
	}
	return unique
}

func sortByHop(items []wire.Gossip) {
	slices.SortStableFunc(items, func(a, b wire.Gossip) int {
		switch {
		case a.Hop < b.Hop:
			return -1
		case a.Hop > b.Hop:
			return 1
		}
		return 0
	})
}
