package peer

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/wetware/casm/interop/go/internal/table"
	"github.com/wetware/casm/interop/go/internal/wire"
)

// leaveTTL is the longest TTL of a heartbeat that says goodbye.
const leaveTTL = time.Millisecond

// clusterService publishes heartbeats, and keeps a table of those of others.
type clusterService struct {
	node         *Node
	topic        atomic.Pointer[pubsub.Topic]
	subscription *pubsub.Subscription

	mu        sync.Mutex
	table     *table.Table
	heartbeat wire.Heartbeat
	changed   chan struct{}
}

func newClusterService(n *Node) *clusterService {
	return &clusterService{
		node: n, table: table.New(), heartbeat: n.config.Heartbeat,
		changed: make(chan struct{}, 1),
	}
}

// join joins the topic of the node's namespace.
func (c *clusterService) join(ps *pubsub.PubSub) error {
	err := ps.RegisterTopicValidator(c.node.config.Namespace, c.validate)
	if err != nil {
		return err
	}
	topic, err := ps.Join(c.node.config.Namespace)
	if err != nil {
		return err
	}
	c.topic.Store(topic)
	c.subscription, err = topic.Subscribe()
	return err
}

// validate decides what happens to a message, and takes a good one in.
func (c *clusterService) validate(_ context.Context, _ peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	source, err := peer.IDFromBytes(m.Message.GetFrom())
	if err != nil || len(m.GetSeqno()) != 8 {
		return pubsub.ValidationReject
	}
	heartbeat, err := wire.DecodeHeartbeat(m.GetData())
	if err != nil {
		return pubsub.ValidationReject
	}
	record := table.Record{
		Peer: source, Seq: binary.BigEndian.Uint64(m.GetSeqno()), Heartbeat: heartbeat,
	}
	c.mu.Lock()
	change := c.table.Upsert(record, time.Now())
	c.mu.Unlock()
	switch change {
	case table.Stale:
		return pubsub.ValidationIgnore
	case table.Joined:
		c.node.out.Emit("peer-joined", Fields{"record": recordFields(record)})
	case table.Updated:
		if heartbeat.TTL > leaveTTL {
			c.node.out.Emit("peer-updated", Fields{"record": recordFields(record)})
		}
	}
	return pubsub.ValidationAccept
}

// receive empties the subscription: the validator has done the work.
func (c *clusterService) receive(ctx context.Context) {
	for {
		if _, err := c.subscription.Next(ctx); err != nil {
			return
		}
	}
}

func (c *clusterService) expire(ctx context.Context) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			c.mu.Lock()
			gone := c.table.Expire(now)
			c.mu.Unlock()
			for _, r := range gone {
				reason := "expired"
				if r.TTL <= leaveTTL {
					reason = "left"
				}
				c.node.out.Emit("peer-left", Fields{"peer": r.Peer.String(), "reason": reason})
			}
		}
	}
}

// heartbeats publishes at the pace of deployed nodes, and at once when there is
// something new to say or somebody new to hear it.
func (c *clusterService) heartbeats(ctx context.Context) {
	if c.node.config.Observer {
		return
	}
	events, err := c.topic.Load().EventHandler()
	if err != nil {
		c.node.out.Error("Internal", err)
		return
	}
	defer events.Cancel()
	go func() {
		for {
			event, err := events.NextPeerEvent(ctx)
			if err != nil {
				return
			}
			if event.Type == pubsub.PeerJoin {
				c.greet()
			}
		}
	}()
	for {
		own := c.own()
		if err := c.publish(ctx, own); err != nil && ctx.Err() == nil {
			c.node.out.Error("Protocol", err)
		}
		half := own.TTL / 2
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
		case <-time.After(half + rand.N(half)):
		}
	}
}

// greet sends a heartbeat to the first peer: what was said before was lost. A
// peer may subscribe before there is a stream to it, so both are occasions.
func (c *clusterService) greet() {
	if topic := c.topic.Load(); topic != nil && len(topic.ListPeers()) == 1 {
		c.wake()
	}
}

func (c *clusterService) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *clusterService) publish(ctx context.Context, h wire.Heartbeat) error {
	data, err := wire.EncodeHeartbeat(h)
	if err != nil {
		return err
	}
	return c.topic.Load().Publish(ctx, data)
}

func (c *clusterService) own() wire.Heartbeat {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heartbeat
}

// update changes the own heartbeat, and sends it.
func (c *clusterService) update(change func(*wire.Heartbeat)) {
	c.mu.Lock()
	change(&c.heartbeat)
	c.mu.Unlock()
	c.wake()
}

func (c *clusterService) records() []table.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table.Records()
}
