package peer

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// overlay keeps the node connected: it dials peers of the pex view, and those
// that boot finds, while it has fewer connections than its degree.
type overlay struct{ node *Node }

func newOverlay(n *Node) *overlay { return &overlay{node: n} }

const (
	overlayPause = 500 * time.Millisecond
	findPause    = 2 * time.Second
	dialTimeout  = 5 * time.Second
)

func (o *overlay) maintain(ctx context.Context) {
	var lastFind time.Time
	for {
		if o.wants() > 0 {
			o.dialView(ctx)
		}
		if o.wants() > 0 && time.Since(lastFind) > findPause {
			lastFind = time.Now()
			for _, addr := range o.node.config.Boot {
				o.dialFound(ctx, addr)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(overlayPause):
		}
	}
}

func (o *overlay) wants() int {
	return o.node.config.Degree - len(o.node.host.Network().Peers())
}

func (o *overlay) dialView(ctx context.Context) {
	items := o.node.pex.items()
	rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	for _, g := range items {
		if o.wants() <= 0 {
			return
		}
		o.dial(ctx, peer.AddrInfo{ID: g.Record.PeerID, Addrs: g.Record.Addrs})
	}
}

func (o *overlay) dialFound(ctx context.Context, addr string) {
	options := findOptions{
		limit: o.wants(), timeout: 3 * time.Second, distance: 255, tick: 100 * time.Millisecond,
		each: func(info peer.AddrInfo) {
			o.node.spawn(func(ctx context.Context) {
				if o.dial(ctx, info) {
					// The round reports its own failure.
					_ = o.node.pex.start(info.ID)
				}
			})
		},
	}
	if _, err := o.node.boot.find(ctx, addr, options); err != nil {
		o.node.out.Error("Address", err)
	}
}

func (o *overlay) dial(ctx context.Context, info peer.AddrInfo) bool {
	h := o.node.host
	if info.ID == h.ID() || h.Network().Connectedness(info.ID) == network.Connected {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return h.Connect(ctx, info) == nil
}
