package peer

import (
	"context"
	"errors"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/rpc"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/wetware/casm/interop/go/internal/schema/cluster"
	"github.com/wetware/casm/interop/go/internal/table"
)

// serveView offers the node's table over RPC in every encoding.
func serveView(n *Node) {
	for _, encoding := range Encodings {
		// The encodings are those of the list.
		id, _ := viewProtocol(n.config.Namespace, encoding)
		n.host.SetStreamHandler(id, func(stream network.Stream) {
			server := &viewServer{records: n.cluster.records}
			conn := rpc.NewConn(transport(stream, encoding), &rpc.Options{
				BootstrapClient: capnp.Client(cluster.View_ServerToClient(server)),
			})
			select {
			case <-conn.Done():
			case <-n.ctx.Done():
				_ = conn.Close()
			}
		})
	}
}

// viewServer answers queries about records.
type viewServer struct {
	records func() []table.Record
	reverse bool
}

func (v *viewServer) Lookup(_ context.Context, call cluster.View_lookup) error {
	args := call.Args()
	selected, err := v.query(args.Selector, args.Constraints)
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	maybe, err := results.NewResult()
	if err != nil {
		return err
	}
	if len(selected) == 0 {
		maybe.SetNothing()
		return nil
	}
	just, err := maybe.NewJust()
	if err != nil {
		return err
	}
	return writeRecord(just, selected[0])
}

func (v *viewServer) Iter(ctx context.Context, call cluster.View_iter) error {
	args := call.Args()
	selected, err := v.query(args.Selector, args.Constraints)
	if err != nil {
		return err
	}
	handler := args.Handler()
	for _, record := range selected {
		err := handler.Recv(ctx, func(p cluster.View_Handler_recv_Params) error {
			to, err := p.NewRecord()
			if err != nil {
				return err
			}
			return writeRecord(to, record)
		})
		if err != nil {
			return err
		}
	}
	return handler.WaitStreaming()
}

func (v *viewServer) Reverse(_ context.Context, call cluster.View_reverse) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	other := &viewServer{records: v.records, reverse: !v.reverse}
	return results.SetView(cluster.View_ServerToClient(other))
}

func (v *viewServer) query(
	selector func() (cluster.View_Selector, error),
	constraints func() (cluster.View_Constraint_List, error),
) ([]table.Record, error) {
	s, err := selector()
	if err != nil {
		return nil, err
	}
	c, err := constraints()
	if err != nil {
		return nil, err
	}
	q, err := readQuery(s, c)
	if err != nil {
		return nil, err
	}
	q.Reverse = v.reverse
	return table.Select(v.records(), q)
}

func readQuery(s cluster.View_Selector, constraints cluster.View_Constraint_List) (q table.Query, err error) {
	switch s.Which() {
	case cluster.View_Selector_Which_all:
	case cluster.View_Selector_Which_match:
		q.Match, err = readIndex(s.Match())
	case cluster.View_Selector_Which_from:
		q.From, err = readIndex(s.From())
	default:
		err = errors.New("unknown selector")
	}
	for i := 0; err == nil && i < constraints.Len(); i++ {
		switch c := constraints.At(i); c.Which() {
		case cluster.View_Constraint_Which_limit:
			q.Limit = c.Limit()
		case cluster.View_Constraint_Which_to:
			q.To, err = readIndex(c.To())
		default:
			err = errors.New("unknown constraint")
		}
	}
	return q, err
}

func readIndex(from cluster.View_Index, err error) (*table.Index, error) {
	if err != nil {
		return nil, err
	}
	index := &table.Index{Prefix: from.Prefix()}
	switch from.Which() {
	case cluster.View_Index_Which_peer:
		index.Field = table.Peer
		index.Value, err = from.Peer()
	case cluster.View_Index_Which_server:
		var digits []byte
		index.Field = table.Server
		digits, err = from.Server()
		index.Value = string(digits)
	case cluster.View_Index_Which_host:
		index.Field = table.Host
		index.Value, err = from.Host()
	case cluster.View_Index_Which_meta:
		index.Field = table.Meta
		index.Value, err = from.Meta()
	default:
		err = errors.New("unknown index")
	}
	return index, err
}

func writeRecord(to cluster.View_Record, r table.Record) error {
	to.SetServer(r.Server)
	to.SetSeq(r.Seq)
	if err := to.SetPeer(string(r.Peer)); err != nil {
		return err
	}
	heartbeat, err := to.NewHeartbeat()
	if err != nil {
		return err
	}
	return r.Heartbeat.Write(heartbeat)
}
