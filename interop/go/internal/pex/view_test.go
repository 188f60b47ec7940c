package pex

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/wetware/casm/interop/go/internal/wire"
)

func gossip(n int, seq, hop uint64) wire.Gossip {
	id := peer.ID(binary.BigEndian.AppendUint32(nil, uint32(n)))
	return wire.Gossip{Hop: hop, Record: &peer.PeerRecord{PeerID: id, Seq: seq}}
}

func view(self int) *View {
	me := gossip(self, 0, 0).Record.PeerID
	return New(me, DefaultParams(), rand.New(rand.NewPCG(1, 2)))
}

func TestOfTwoRecordsTheNewerThenTheYoungerStays(t *testing.T) {
	v := view(0)
	v.Merge([]wire.Gossip{gossip(0, 9, 0), gossip(1, 1, 1), gossip(1, 2, 7), gossip(1, 2, 5), gossip(1, 1, 0)})
	items := v.Items()
	if len(items) != 1 || items[0].Record.Seq != 2 || items[0].Hop != 6 {
		t.Errorf("got %+v", items)
	}
}

func TestAViewStaysWithinItsSizeAndDoesNotWrapHops(t *testing.T) {
	v := view(0)
	for round := range 20 {
		var remote []wire.Gossip
		for i := range 30 {
			remote = append(remote, gossip(1+round*30+i, 1, ^uint64(0)))
		}
		v.Merge(remote)
		seen := map[string]bool{}
		for _, g := range v.Items() {
			if g.Hop != ^uint64(0) {
				t.Fatalf("hop %d", g.Hop)
			}
			seen[string(g.Record.PeerID)] = true
		}
		if want := min(32, 30*(round+1)); len(seen) != want || len(v.Items()) != want {
			t.Fatalf("round %d: %d records of %d peers", round, len(v.Items()), len(seen))
		}
	}
}

func TestWhatIsPushedHasTheOldestLast(t *testing.T) {
	v := view(0)
	var remote []wire.Gossip
	for i := range 32 {
		remote = append(remote, gossip(i+1, 1, uint64(i)))
	}
	v.Merge(remote)
	push := v.Push()
	if len(push) != 15 {
		t.Fatalf("%d records are pushed", len(push))
	}
	var hops []uint64
	for _, g := range push[10:] {
		hops = append(hops, g.Hop)
	}
	if fmt.Sprint(hops) != "[28 29 30 31 32]" {
		t.Errorf("the last have the hops %v", hops)
	}
}
