package peer

import (
	"context"
	"fmt"
	"sync"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/rpc"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/wetware/casm/interop/go/internal/schema/csp"
	"github.com/wetware/casm/interop/go/internal/schema/gochan"
)

// UseChannel sends to a channel of a connected peer, receives from it, and closes
// it, by the interface that CASM's successor has: it knows of nothing beyond.
func (n *Node) UseChannel(
	ctx context.Context, id peer.ID, name string, send []string, recv int, closes bool,
) ([]string, error) {
	stream, err := n.host.NewStream(ctx, id, protocol.ID("/casm/0.0.0/"+n.config.Namespace+"/chan"))
	if err != nil {
		return nil, err
	}
	conn := rpc.NewConn(transport(stream, "plain"), nil)
	defer conn.Close()
	channels := csp.Channels(conn.Bootstrap(ctx))
	defer channels.Release()
	opening, release := channels.Open(ctx, func(p csp.Channels_open_Params) error {
		return p.SetName(name)
	})
	defer release()
	channel := gochan.Chan(opening.Channel())

	var sends sync.WaitGroup
	failed := make(chan error, len(send))
	for _, value := range send {
		future, release := channel.Send(ctx, func(p gochan.Sender_send_Params) error {
			data, err := capnp.NewData(p.Segment(), []byte(value))
			if err != nil {
				return err
			}
			return p.SetValue(data.ToPtr())
		})
		sends.Go(func() {
			defer release()
			if _, err := future.Struct(); err != nil {
				failed <- fmt.Errorf("send: %w", err)
			}
		})
	}
	var received []string
	for range recv {
		value, err := receive(ctx, channel)
		if err != nil {
			return received, err
		}
		received = append(received, value)
	}
	sends.Wait()
	close(failed)
	if err := <-failed; err != nil {
		return received, err
	}
	if closes {
		future, release := channel.Close(ctx, nil)
		defer release()
		if _, err := future.Struct(); err != nil {
			return received, fmt.Errorf("close: %w", err)
		}
	}
	return received, nil
}

func receive(ctx context.Context, channel gochan.Chan) (string, error) {
	future, release := channel.Recv(ctx, nil)
	defer release()
	results, err := future.Struct()
	if err != nil {
		return "", fmt.Errorf("recv: %w", err)
	}
	value, err := results.Value()
	return string(value.Data()), err
}
