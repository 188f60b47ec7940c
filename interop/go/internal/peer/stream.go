package peer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// echoProtocol is a plain stream: what comes goes back when it has ended.
const echoProtocol = "/interop/echo/1"

// maxEcho is the most that is kept for a way back.
const maxEcho = 16 << 20

func (n *Node) serveEcho() {
	n.host.SetStreamHandler(echoProtocol, func(s network.Stream) {
		data, err := io.ReadAll(io.LimitReader(s, maxEcho))
		if err == nil {
			_, err = s.Write(data)
		}
		if err != nil {
			_ = s.Reset()
			return
		}
		_ = s.Close()
	})
}

// openStream sends so many bytes, ends them, and reads what comes back.
func (n *Node) openStream(ctx context.Context, c Command) (Fields, error) {
	id, err := n.Connect(ctx, c.Addr)
	if err != nil {
		return nil, err
	}
	s, err := n.host.NewStream(ctx, id, protocol.ID(c.Protocol))
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Reset() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = s.SetDeadline(deadline)
	}
	sent := bytes.Repeat([]byte{'s'}, c.Bytes)
	wrote := make(chan error, 1)
	go func() {
		_, err := s.Write(sent)
		if err == nil {
			err = s.CloseWrite()
		}
		wrote <- err
	}()
	got, err := io.ReadAll(io.LimitReader(s, maxEcho))
	if err != nil {
		return nil, fmt.Errorf("read after %d bytes: %w", len(got), err)
	}
	if err := <-wrote; err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	sum := sha256.Sum256(got)
	return Fields{"bytes": len(got), "sha256": hex.EncodeToString(sum[:])}, nil
}

// identifySize asks a connected peer who it is, and counts the bytes of what it says.
func (n *Node) identifySize(ctx context.Context, id peer.ID) (int, error) {
	stream, err := n.host.NewStream(ctx, id, "/ipfs/id/1.0.0")
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := stream.SetReadDeadline(deadline); err != nil {
			return 0, err
		}
	}
	said, err := io.ReadAll(io.LimitReader(stream, 1<<20))
	return len(said), err
}
