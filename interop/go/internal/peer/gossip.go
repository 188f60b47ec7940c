package peer

import (
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// gossipCounts counts what gossipsub sends and receives.
type gossipCounts struct {
	sent, received      rpcCounts
	delivered, rejected atomic.Int64
	duplicates, meshed  atomic.Int64
	// written counts the messages that the transport has taken.
	written atomic.Int64
	// opened is called when there is a stream to a peer.
	opened func()
}

type rpcCounts struct{ messages, ihave, iwant, graft, prune, idontwant atomic.Int64 }

func (c *rpcCounts) add(rpc *pubsub.RPC) {
	control := rpc.GetControl()
	c.messages.Add(int64(len(rpc.GetPublish())))
	for _, i := range control.GetIhave() {
		c.ihave.Add(int64(len(i.GetMessageIDs())))
	}
	for _, i := range control.GetIwant() {
		c.iwant.Add(int64(len(i.GetMessageIDs())))
	}
	for _, i := range control.GetIdontwant() {
		c.idontwant.Add(int64(len(i.GetMessageIDs())))
	}
	c.graft.Add(int64(len(control.GetGraft())))
	c.prune.Add(int64(len(control.GetPrune())))
}

func (c *rpcCounts) fields() Fields {
	return Fields{
		"messages": c.messages.Load(), "ihave": c.ihave.Load(), "iwant": c.iwant.Load(),
		"graft": c.graft.Load(), "prune": c.prune.Load(), "idontwant": c.idontwant.Load(),
	}
}

func (c *gossipCounts) fields() Fields {
	return Fields{
		"sent": c.sent.fields(), "received": c.received.fields(), "mesh": c.meshed.Load(),
		"delivered": c.delivered.Load(), "rejected": c.rejected.Load(),
		"duplicates": c.duplicates.Load(),
	}
}

func (c *gossipCounts) RecvRPC(rpc *pubsub.RPC)            { c.received.add(rpc) }
func (c *gossipCounts) SendRPC(rpc *pubsub.RPC, _ peer.ID) { c.sent.add(rpc) }

func (c *gossipCounts) SendRPCCompleted(rpc *pubsub.RPC, _ peer.ID, _ time.Duration) {
	c.written.Add(int64(len(rpc.GetPublish())))
}

// OnNewOutboundStream must not wait for pubsub, which is calling.
func (c *gossipCounts) OnNewOutboundStream(peer.ID, protocol.ID) { go c.opened() }

func (c *gossipCounts) Graft(peer.ID, string)                 { c.meshed.Add(1) }
func (c *gossipCounts) Prune(peer.ID, string)                 { c.meshed.Add(-1) }
func (c *gossipCounts) DeliverMessage(*pubsub.Message)        { c.delivered.Add(1) }
func (c *gossipCounts) RejectMessage(*pubsub.Message, string) { c.rejected.Add(1) }
func (c *gossipCounts) DuplicateMessage(*pubsub.Message)      { c.duplicates.Add(1) }

func (*gossipCounts) OnClosedOutboundStream(peer.ID)       {}
func (*gossipCounts) Join(string)                          {}
func (*gossipCounts) Leave(string)                         {}
func (*gossipCounts) ValidateMessage(*pubsub.Message)      {}
func (*gossipCounts) ThrottlePeer(peer.ID)                 {}
func (*gossipCounts) DropRPC(*pubsub.RPC, peer.ID)         {}
func (*gossipCounts) UndeliverableMessage(*pubsub.Message) {}
