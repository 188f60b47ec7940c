package peer

import (
	"context"

	"github.com/libp2p/go-libp2p/core/event"
)

// watchReach reports where others reach the node: over which relays, and what it was
// told by peers that dialled it; and protocols that it speaks only from then on.
func (n *Node) watchReach() error {
	events, err := n.host.EventBus().Subscribe([]any{
		new(event.EvtAutoRelayAddrsUpdated), new(event.EvtHostReachableAddrsChanged),
		new(event.EvtLocalProtocolsUpdated),
	})
	if err != nil {
		return err
	}
	n.spawn(func(ctx context.Context) {
		defer events.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-events.Out():
				switch e := e.(type) {
				case event.EvtAutoRelayAddrsUpdated:
					n.out.Emit("relays", Fields{"addrs": addrStrings(e.RelayAddrs)})
				case event.EvtLocalProtocolsUpdated:
					n.out.Emit("speaks", Fields{"added": e.Added})
				case event.EvtHostReachableAddrsChanged:
					n.out.Emit("reach", Fields{
						"reachable": addrStrings(e.Reachable), "unreachable": addrStrings(e.Unreachable),
					})
				}
			}
		}
	})
	return nil
}
