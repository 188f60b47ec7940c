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

// serveView offers the node's table over RPC in every encoding, or what is made
// up in its place.
func serveView(n *Node) error {
	server := viewServer{records: n.cluster.records}
	if n.config.ForgedView {
		forged, err := forgeries(n.config.Namespace)
		if err != nil {
			return err
		}
		server = viewServer{records: forged.records, proof: forged.proof}
	}
	for _, encoding := range Encodings {
		// The encodings are those of the list.
		id, _ := viewProtocol(n.config.Namespace, encoding)
		n.host.SetStreamHandler(id, func(stream network.Stream) {
			server := server
			conn := rpc.NewConn(transport(stream, encoding), &rpc.Options{
				BootstrapClient: capnp.Client(cluster.View_ServerToClient(&server)),
			})
			select {
			case <-conn.Done():
			case <-n.ctx.Done():
				_ = conn.Close()
			}
		})
	}
	return nil
}

// viewServer answers queries about records.
type viewServer struct {
	records func() []table.Record
	// proof gives the signed message that is told beside a record; Go's nodes
	// tell none.
	proof   func(table.Record) []byte
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
	just, err := v.record(maybe.Segment(), selected[0])
	if err != nil {
		return err
	}
	return maybe.SetJust(just)
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
			to, err := v.record(p.Segment(), record)
			if err != nil {
				return err
			}
			return p.SetRecord(to)
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
	other := &viewServer{records: v.records, proof: v.proof, reverse: !v.reverse}
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

// record makes a record, with its proof in the field of Rust's schema if there is
// one.
func (v *viewServer) record(in *capnp.Segment, r table.Record) (cluster.View_Record, error) {
	if v.proof == nil {
		to, err := cluster.NewView_Record(in)
		if err != nil {
			return to, err
		}
		return to, writeRecord(to, r)
	}
	to, err := capnp.NewStruct(in, capnp.ObjectSize{DataSize: 16, PointerCount: 3})
	if err == nil {
		err = to.SetData(2, v.proof(r))
	}
	if err != nil {
		return cluster.View_Record{}, err
	}
	return cluster.View_Record(to), writeRecord(cluster.View_Record(to), r)
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
