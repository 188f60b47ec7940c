package peer

import (
	"context"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"capnproto.org/go/capnp/v3/rpc"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/wetware/casm/interop/go/internal/schema/service"
	"github.com/wetware/casm/interop/go/internal/wire"
)

// Call asks a service of a connected peer; with parts, for an answer in parts.
func (n *Node) Call(
	ctx context.Context, id peer.ID, name, data string, parts bool, timeout time.Duration,
) (Fields, error) {
	stream, err := n.host.NewStream(ctx, id, wire.ProtocolID(n.config.Namespace, "svc"))
	if err != nil {
		return nil, err
	}
	conn := rpc.NewConn(transport(stream, "plain"), nil)
	defer conn.Close()
	services := service.Services(conn.Bootstrap(ctx))
	defer services.Release()
	got, release := services.Get(ctx, func(p service.Services_get_Params) error {
		return p.SetName(name)
	})
	defer release()
	ms := uint32(timeout / time.Millisecond)
	if parts {
		return callParts(ctx, got.Service(), data, ms)
	}
	future, release := got.Service().Call(ctx, func(p service.Service_call_Params) error {
		p.SetTimeoutMs(ms)
		headers, err := p.NewHeaders(1)
		if err != nil {
			return err
		}
		if err := headers.At(0).SetKey("from"); err != nil {
			return err
		}
		if err := headers.At(0).SetValue("go"); err != nil {
			return err
		}
		return p.SetRequest([]byte(data))
	})
	defer release()
	results, err := future.Struct()
	if err != nil {
		return nil, err
	}
	answer, err := results.Answer()
	if err != nil {
		return nil, err
	}
	return readAnswer(answer)
}

func callParts(ctx context.Context, to service.Service, data string, ms uint32) (Fields, error) {
	taker := &taker{parts: []string{}}
	future, release := to.Stream(ctx, func(p service.Service_stream_Params) error {
		p.SetTimeoutMs(ms)
		if err := p.SetParts(service.Service_Parts_ServerToClient(taker)); err != nil {
			return err
		}
		return p.SetRequest([]byte(data))
	})
	defer release()
	results, err := future.Struct()
	if err != nil {
		return nil, err
	}
	answer, err := results.Answer()
	if err != nil {
		return nil, err
	}
	fields, err := readAnswer(answer)
	taker.mu.Lock()
	defer taker.mu.Unlock()
	if fields != nil {
		fields["parts"], fields["whole"] = taker.parts, taker.ended
	}
	return fields, err
}

// taker takes the parts of an answer.
type taker struct {
	mu    sync.Mutex
	parts []string
	ended bool
}

func (t *taker) Part(_ context.Context, call service.Service_Parts_part) error {
	data, err := call.Args().Data()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parts = append(t.parts, string(data))
	return nil
}

func (t *taker) End(context.Context, service.Service_Parts_end) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	return nil
}

func readAnswer(answer service.Answer) (Fields, error) {
	switch answer.Which() {
	case service.Answer_Which_ok:
		data, err := answer.Ok()
		if err != nil {
			return nil, err
		}
		if !utf8.Valid(data) {
			return nil, fmt.Errorf("the answer is not UTF-8: %x", data)
		}
		return Fields{"text": string(data)}, nil
	case service.Answer_Which_failed:
		failed, err := answer.Failed()
		if err != nil {
			return nil, err
		}
		kind, err := failed.Kind()
		if err != nil {
			return nil, err
		}
		message, err := failed.Message_()
		return Fields{"failed": kind, "said": message}, err
	}
	return nil, fmt.Errorf("an answer of kind %v", answer.Which())
}
