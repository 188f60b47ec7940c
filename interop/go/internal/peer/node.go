// Package peer is a CASM node on go-libp2p.
package peer

import (
	"context"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"

	"github.com/wetware/casm/interop/go/internal/stack"
	"github.com/wetware/casm/interop/go/internal/wire"
)

// Config is what a node is told at its start.
type Config struct {
	Namespace string
	Listen    []string
	Key       crypto.PrivKey
	// PSK is the key of a private network, if there is one.
	PSK pnet.PSK
	// NAT says how it gets along with NATs.
	NAT stack.NAT
	// Security is noise, tls, or empty for both.
	Security string
	// FirstMuxer is the id of a muxer that is offered before yamux, and that
	// nobody has.
	FirstMuxer string
	// Lazy nodes are in nobody's mesh: all that they get and give goes by
	// IHAVE and IWANT.
	Lazy bool
	// ValidateQueue is how many messages may wait to be checked: the library
	// throws away what comes beyond. Its own number if it is zero.
	ValidateQueue int

	Boot, Serve []string
	// Degree is the number of connections below which the node looks for more.
	Degree int

	Heartbeat wire.Heartbeat
	Observer  bool
	// ForgedView nodes serve a view of peers that don't exist, whose proofs are
	// wrong.
	ForgedView bool
	// PexTick is the pace of peer exchange; none if it is zero.
	PexTick time.Duration
}

// Node is a running node.
type Node struct {
	config  Config
	out     *Output
	host    host.Host
	overlay *overlay
	boot    *bootService
	pex     *pexService
	cluster *clusterService
	gossip  *gossipCounts
	pubsub  *pubsub.PubSub
	topics  topics

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// Start starts a node.
func Start(config Config, out *Output) (*Node, error) {
	h, err := stack.NewHost(config.Key, config.Listen, config.Security, config.FirstMuxer, config.PSK, config.NAT)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &Node{config: config, out: out, host: h, ctx: ctx, cancel: cancel}
	if err := n.start(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (n *Node) start() error {
	n.host.Network().Notify(n.notifiee())
	n.overlay = newOverlay(n)
	n.pex = newPexService(n)

	n.cluster = newClusterService(n)
	ps, err := n.newPubsub()
	if err != nil {
		return err
	}
	n.pubsub = ps
	if err := n.cluster.join(ps); err != nil {
		return err
	}
	if err := serveView(n); err != nil {
		return err
	}
	n.serveEcho()
	if n.boot, err = newBootService(n); err != nil {
		return err
	}

	self := peer.AddrInfo{ID: n.host.ID(), Addrs: n.host.Addrs()}
	n.out.Emit("listening", Fields{"peer": self.ID.String(), "addrs": fullAddrs(self)})
	if err := n.watchReach(); err != nil {
		return err
	}
	n.spawn(n.cluster.heartbeats)
	n.spawn(n.cluster.receive)
	n.spawn(n.cluster.expire)
	n.spawn(n.pex.rounds)
	n.spawn(n.overlay.maintain)
	return nil
}

func (n *Node) newPubsub() (*pubsub.PubSub, error) {
	n.gossip = &gossipCounts{opened: func() { n.cluster.greet() }}
	params := pubsub.DefaultGossipSubParams()
	if n.config.Lazy {
		params.D, params.Dlo, params.Dhi, params.Dout, params.Dscore = 0, 0, 0, 0, 0
	}
	options := []pubsub.Option{
		pubsub.WithGossipSubParams(params),
		// What is said before the mesh has formed would be lost.
		pubsub.WithFloodPublish(!n.config.Lazy),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithMessageIdFn(wire.MessageID),
		pubsub.WithMaxMessageSize(wire.MaxMessage),
		pubsub.WithRawTracer(n.gossip),
	}
	if n.config.ValidateQueue > 0 {
		options = append(options, pubsub.WithValidateQueueSize(n.config.ValidateQueue))
	}
	return pubsub.NewGossipSub(n.ctx, n.host, options...)
}

// notifiee reports the first and the last connection of each peer.
func (n *Node) notifiee() network.Notifiee {
	report := func(event string, id peer.ID) {
		n.out.Emit(event, Fields{"peer": id.String()})
	}
	var mu sync.Mutex
	conns := make(map[peer.ID]int)
	return &network.NotifyBundle{
		ConnectedF: func(_ network.Network, c network.Conn) {
			mu.Lock()
			defer mu.Unlock()
			if conns[c.RemotePeer()]++; conns[c.RemotePeer()] == 1 {
				report("connected", c.RemotePeer())
			}
		},
		DisconnectedF: func(_ network.Network, c network.Conn) {
			mu.Lock()
			defer mu.Unlock()
			if conns[c.RemotePeer()]--; conns[c.RemotePeer()] == 0 {
				delete(conns, c.RemotePeer())
				report("disconnected", c.RemotePeer())
			}
		},
	}
}

func (n *Node) spawn(task func(context.Context)) {
	n.tasks.Add(1)
	go func() {
		defer n.tasks.Done()
		task(n.ctx)
	}()
}

// Connect dials a peer by one of its addresses, which ends in /p2p/<id>.
func (n *Node) Connect(ctx context.Context, addr string) (peer.ID, error) {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return "", err
	}
	return info.ID, n.host.Connect(ctx, *info)
}

// Ping measures one round trip.
func (n *Node) Ping(ctx context.Context, id peer.ID) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result := <-ping.Ping(ctx, n.host, id)
	return result.RTT, result.Error
}

const leaveTimeout = time.Second

// Leave tells the others that the node goes, by a heartbeat with the smallest
// TTL.
func (n *Node) Leave() error {
	if n.config.Observer || len(n.cluster.topic.Load().ListPeers()) == 0 {
		return nil
	}
	last := n.cluster.own()
	last.TTL = leaveTTL
	before := n.gossip.sent.messages.Load()
	if err := n.cluster.publish(n.ctx, last); err != nil {
		return err
	}
	// Publishing is asynchronous: closing at once would lose the message.
	for deadline := time.Now().Add(leaveTimeout); time.Now().Before(deadline); {
		if sent := n.gossip.sent.messages.Load(); sent > before && n.gossip.written.Load() >= sent {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// Close ends the node at once, without a word to the others.
func (n *Node) Close() {
	n.cancel()
	if n.boot != nil {
		n.boot.close()
	}
	_ = n.host.Close()
	n.tasks.Wait()
}
