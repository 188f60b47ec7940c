package peer

import (
	"context"
	"fmt"
	"sync"

	"capnproto.org/go/capnp/v3/rpc"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/wetware/casm/interop/go/internal/schema/cluster"
	"github.com/wetware/casm/interop/go/internal/table"
	"github.com/wetware/casm/interop/go/internal/wire"
)

// ViewOf asks a connected peer for its view: by lookup, for the first record
// only, or by iter.
func (n *Node) ViewOf(
	ctx context.Context, id peer.ID, encoding string, lookup bool, q table.Query,
) ([]table.Record, error) {
	protocol, err := viewProtocol(n.config.Namespace, encoding)
	if err != nil {
		return nil, err
	}
	stream, err := n.host.NewStream(ctx, id, protocol)
	if err != nil {
		return nil, err
	}
	conn := rpc.NewConn(transport(stream, encoding), nil)
	defer conn.Close()
	view := cluster.View(conn.Bootstrap(ctx))
	defer view.Release()
	if q.Reverse {
		reversed, release := view.Reverse(ctx, nil)
		defer release()
		view = reversed.View()
	}
	if lookup {
		return lookupRecord(ctx, view, q)
	}
	return iterRecords(ctx, view, q)
}

func lookupRecord(ctx context.Context, view cluster.View, q table.Query) ([]table.Record, error) {
	future, release := view.Lookup(ctx, func(p cluster.View_lookup_Params) error {
		return writeQuery(q, p.NewSelector, p.NewConstraints)
	})
	defer release()
	results, err := future.Struct()
	if err != nil {
		return nil, err
	}
	maybe, err := results.Result()
	if err != nil || maybe.Which() == cluster.View_MaybeRecord_Which_nothing {
		return nil, err
	}
	just, err := maybe.Just()
	if err != nil {
		return nil, err
	}
	record, err := readRecord(just)
	return []table.Record{record}, err
}

func iterRecords(ctx context.Context, view cluster.View, q table.Query) ([]table.Record, error) {
	handler := &collector{}
	future, release := view.Iter(ctx, func(p cluster.View_iter_Params) error {
		if err := p.SetHandler(cluster.View_Handler_ServerToClient(handler)); err != nil {
			return err
		}
		return writeQuery(q, p.NewSelector, p.NewConstraints)
	})
	defer release()
	if _, err := future.Struct(); err != nil {
		return nil, err
	}
	handler.mu.Lock()
	defer handler.mu.Unlock()
	return handler.records, nil
}

// collector takes what iter sends.
type collector struct {
	mu      sync.Mutex
	records []table.Record
}

func (c *collector) Recv(_ context.Context, call cluster.View_Handler_recv) error {
	from, err := call.Args().Record()
	if err != nil {
		return err
	}
	record, err := readRecord(from)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, record)
	return nil
}

func readRecord(from cluster.View_Record) (r table.Record, err error) {
	id, err := from.Peer()
	if err != nil {
		return r, err
	}
	if r.Peer, err = peer.IDFromBytes([]byte(id)); err != nil {
		return r, err
	}
	r.Seq = from.Seq()
	heartbeat, err := from.Heartbeat()
	if err != nil {
		return r, err
	}
	r.Heartbeat, err = wire.ReadHeartbeat(heartbeat)
	return r, err
}

func writeQuery(
	q table.Query,
	newSelector func() (cluster.View_Selector, error),
	newConstraints func(int32) (cluster.View_Constraint_List, error),
) error {
	selector, err := newSelector()
	if err != nil {
		return err
	}
	switch {
	case q.Match != nil:
		err = writeIndex(*q.Match, selector.NewMatch)
	case q.From != nil:
		err = writeIndex(*q.From, selector.NewFrom)
	default:
		selector.SetAll()
	}
	if err != nil {
		return err
	}
	var fill []func(cluster.View_Constraint) error
	if q.Limit > 0 {
		fill = append(fill, func(c cluster.View_Constraint) error { c.SetLimit(q.Limit); return nil })
	}
	if q.To != nil {
		fill = append(fill, func(c cluster.View_Constraint) error { return writeIndex(*q.To, c.NewTo) })
	}
	constraints, err := newConstraints(int32(len(fill)))
	for i := 0; err == nil && i < len(fill); i++ {
		err = fill[i](constraints.At(i))
	}
	return err
}

func writeIndex(index table.Index, alloc func() (cluster.View_Index, error)) error {
	to, err := alloc()
	if err != nil {
		return err
	}
	to.SetPrefix(index.Prefix)
	switch index.Field {
	case table.Peer:
		return to.SetPeer(index.Value)
	case table.Server:
		return to.SetServer([]byte(index.Value))
	case table.Host:
		return to.SetHost(index.Value)
	case table.Meta:
		return to.SetMeta(index.Value)
	}
	return fmt.Errorf("there is no index %q", index.Field)
}
