package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/wetware/casm/interop/go/internal/abuse"
	"github.com/wetware/casm/interop/go/internal/table"
	"github.com/wetware/casm/interop/go/internal/wire"
)

// Command is a line of input. Which fields it needs depends on Cmd.
type Command struct {
	ID  json.RawMessage `json:"id,omitempty"`
	Cmd string          `json:"cmd"`

	Addr, Peer string
	Timeout    Duration
	Limit      uint64

	// For find.
	Distance *uint8
	Tick     Duration

	// For view-of.
	Encoding        string
	Lookup, Reverse bool
	Match, From, To *table.Index

	// For channel.
	Name  string
	Send  []string
	Recv  int
	Close bool

	// For call.
	Service, Data string
	Parts         bool

	// For update.
	Host *string
	Meta []string
	TTL  Duration

	// For stream.
	Protocol string
	Bytes    int

	// For join and say.
	Topic, Text string

	// For abuse.
	Kind   string
	Times  int
	Server string
	Hold   Duration
	Boot   string
	Victim string
	Seq    string
}

// Duration is written as in 500ms, 10s, 5m.
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// Do does what a command says, and reports the result under the command's id.
func (n *Node) Do(c Command) {
	if c.Timeout == 0 {
		c.Timeout = Duration(10 * time.Second)
	}
	ctx, cancel := context.WithTimeout(n.ctx, time.Duration(c.Timeout))
	defer cancel()
	fields, err := n.dispatch(ctx, c)
	event := "reply"
	if err != nil {
		event, fields = "error", Fields{"kind": "Protocol", "message": err.Error()}
	}
	if fields == nil {
		fields = Fields{}
	}
	fields["cmd"] = c.Cmd
	if c.ID != nil {
		fields["id"] = c.ID
	}
	n.out.Emit(event, fields)
}

func (n *Node) dispatch(ctx context.Context, c Command) (Fields, error) {
	switch c.Cmd {
	case "connect":
		id, err := n.Connect(ctx, c.Addr)
		return Fields{"peer": id.String()}, err
	case "find":
		return n.doFind(ctx, c)
	case "view":
		records, err := table.Select(n.cluster.records(), c.query())
		return Fields{"n": len(records), "records": recordList(records)}, err
	case "update":
		return n.doUpdate(c)
	case "join":
		return nil, n.join(c.Topic)
	case "say":
		return nil, n.say(ctx, c.Topic, c.Text)
	case "stats":
		return n.gossip.fields(), nil
	case "peers":
		return Fields{"peers": n.connections()}, nil
	case "stream":
		return n.openStream(ctx, c)
	case "abuse":
		return n.doAbuse(ctx, c)
	}
	id, err := peer.Decode(c.Peer)
	if err != nil {
		return nil, fmt.Errorf("command %q, peer %q: %w", c.Cmd, c.Peer, err)
	}
	switch c.Cmd {
	case "disconnect":
		return nil, n.host.Network().ClosePeer(id)
	case "identify":
		size, err := n.identifySize(ctx, id)
		return Fields{"peer": c.Peer, "bytes": size}, err
	case "ping":
		rtt, err := n.Ping(ctx, id)
		return Fields{"peer": c.Peer, "rtt_ms": float64(rtt) / float64(time.Millisecond)}, err
	case "pex":
		return nil, n.pex.start(id)
	case "call":
		fields, err := n.Call(ctx, id, c.Service, c.Data, c.Parts, time.Duration(c.Timeout))
		if fields != nil {
			fields["peer"] = c.Peer
		}
		return fields, err
	case "view-of":
		records, err := n.ViewOf(ctx, id, c.Encoding, c.Lookup, c.query())
		return Fields{"peer": c.Peer, "n": len(records), "records": recordList(records)}, err
	case "channel":
		received, err := n.UseChannel(ctx, id, c.Name, c.Send, c.Recv, c.Close)
		return Fields{"peer": c.Peer, "received": received}, err
	}
	return nil, fmt.Errorf("there is no command %q", c.Cmd)
}

func (c Command) query() table.Query {
	return table.Query{Match: c.Match, From: c.From, To: c.To, Limit: c.Limit, Reverse: c.Reverse}
}

func (n *Node) doFind(ctx context.Context, c Command) (Fields, error) {
	options := findOptions{
		limit: int(c.Limit), timeout: time.Duration(c.Timeout),
		distance: 255, tick: time.Duration(c.Tick),
	}
	if c.Distance != nil {
		options.distance = *c.Distance
	}
	if options.tick == 0 {
		options.tick = 5 * time.Second
	}
	infos, err := n.boot.find(ctx, c.Addr, options)
	found := make([]string, len(infos))
	for i, info := range infos {
		found[i] = info.ID.String()
	}
	return Fields{"n": len(infos), "peers": found}, err
}

func (n *Node) doUpdate(c Command) (Fields, error) {
	n.cluster.update(func(h *wire.Heartbeat) {
		if c.Host != nil {
			h.Host = *c.Host
		}
		if c.Meta != nil {
			h.Meta = c.Meta
		}
		if c.TTL != 0 {
			h.TTL = time.Duration(c.TTL)
		}
	})
	return nil, nil
}

func (n *Node) doAbuse(ctx context.Context, c Command) (Fields, error) {
	params := abuse.Params{
		Namespace: n.config.Namespace, Target: c.Addr, Times: c.Times,
		Hold: time.Duration(c.Hold), Boot: c.Boot, Victim: c.Victim,
	}
	if c.Server != "" {
		server, err := strconv.ParseUint(c.Server, 16, 64)
		if err != nil {
			return nil, err
		}
		params.Server = server
	}
	if c.Seq != "" {
		seq, err := strconv.ParseUint(c.Seq, 10, 64)
		if err != nil {
			return nil, err
		}
		params.Seq = seq
	}
	done, err := abuse.Run(ctx, c.Kind, params)
	return Fields{"done": done}, err
}

// connections tells of each connected peer what identify and the handshake
// brought.
func (n *Node) connections() []Fields {
	list := []Fields{}
	store := n.host.Peerstore()
	for _, conn := range n.host.Network().Conns() {
		id := conn.RemotePeer()
		protocols, _ := store.GetProtocols(id)
		agent, _ := store.Get(id, "AgentVersion")
		direction := "in"
		if conn.Stat().Direction == network.DirOutbound {
			direction = "out"
		}
		var streams []string
		for _, stream := range conn.GetStreams() {
			streams = append(streams, string(stream.Protocol()))
		}
		list = append(list, Fields{
			"streams": streams,
			"peer":    id.String(), "direction": direction, "agent": agent, "protocols": protocols,
			"addr": conn.RemoteMultiaddr().String(), "transport": conn.ConnState().Transport,
			"security": conn.ConnState().Security, "muxer": conn.ConnState().StreamMultiplexer,
			"limited": conn.Stat().Limited,
		})
	}
	return list
}
