package abuse

import (
	"context"
	"encoding/binary"
	"time"

	"capnproto.org/go/capnp/v3/rpc"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/wetware/casm/interop/go/internal/schema/cluster"
	"github.com/wetware/casm/interop/go/internal/wire"
)

const (
	// rpcStreams are the streams that each peer holds: as many as it may.
	rpcStreams = 8
	// rpcSegment is the length that is declared of a message, and rpcPart how
	// much of it ever comes.
	rpcSegment = 1<<20 - 16
	rpcPart    = rpcSegment - 4096
)

// rpcHold has many peers hold as many RPC streams as they may, until the time is
// over.
func rpcHold(ctx context.Context, p Params, hold func(ctx context.Context, s network.Stream)) (int, error) {
	until, cancel := context.WithTimeout(ctx, p.Hold)
	defer cancel()
	return together(p.Times, func(int) error {
		a, err := newAttacker(ctx, p)
		if err != nil {
			return err
		}
		defer a.close()
		_, err = together(rpcStreams, func(int) error {
			for until.Err() == nil {
				stream, err := a.host.NewStream(until, a.target, wire.ProtocolID(p.Namespace, "view"))
				if err == nil {
					// For as long as the target keeps it; then again.
					hold(until, stream)
					_ = stream.Reset()
				}
				pause(until, 2*time.Second)
			}
			return nil
		})
		return err
	})
}

// rpcIter asks for all records, and never takes the first.
func rpcIter(ctx context.Context, p Params) (int, error) {
	return rpcHold(ctx, p, func(ctx context.Context, stream network.Stream) {
		conn := rpc.NewConn(rpc.NewStreamTransport(stream), nil)
		defer conn.Close()
		view := cluster.View(conn.Bootstrap(ctx))
		defer view.Release()
		future, release := view.Iter(ctx, func(q cluster.View_iter_Params) error {
			selector, err := q.NewSelector()
			if err != nil {
				return err
			}
			selector.SetAll()
			return q.SetHandler(cluster.View_Handler_ServerToClient(deaf{ctx}))
		})
		defer release()
		select {
		case <-ctx.Done():
		case <-conn.Done():
		case <-future.Done():
		}
	})
}

// deaf answers no call before its time is over.
type deaf struct{ until context.Context }

func (d deaf) Recv(ctx context.Context, _ cluster.View_Handler_recv) error {
	select {
	case <-d.until.Done():
	case <-ctx.Done():
	}
	return nil
}

// rpcPartial sends most of a long message, and never the rest.
func rpcPartial(ctx context.Context, p Params) (int, error) {
	part := binary.LittleEndian.AppendUint32(make([]byte, 4), rpcSegment/8)
	part = append(part, make([]byte, rpcPart)...)
	return rpcHold(ctx, p, func(ctx context.Context, stream network.Stream) {
		stop := context.AfterFunc(ctx, func() { _ = stream.Reset() })
		defer stop()
		if _, err := stream.Write(part); err == nil {
			// Nothing comes until the target ends it.
			_, _ = stream.Read(make([]byte, 1))
		}
	})
}
