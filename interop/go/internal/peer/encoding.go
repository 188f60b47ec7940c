package peer

import (
	"errors"
	"fmt"
	"io"

	"capnproto.org/go/capnp/v3/rpc"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/pierrec/lz4/v4"

	"github.com/wetware/casm/interop/go/internal/wire"
)

// Encodings are those in which a capability is served.
var Encodings = []string{"plain", "packed", "lz4", "packed/lz4"}

// viewProtocol is the id of the view in one encoding.
func viewProtocol(ns, encoding string) (protocol.ID, error) {
	switch encoding {
	case "plain":
		return wire.ProtocolID(ns, "view"), nil
	case "packed", "lz4", "packed/lz4":
		return wire.ProtocolID(ns, "view", encoding), nil
	}
	return "", fmt.Errorf("encoding %q is none of %v", encoding, Encodings)
}

// transport puts RPC messages on a stream.
func transport(stream network.Stream, encoding string) rpc.Transport {
	switch encoding {
	case "packed":
		return rpc.NewPackedStreamTransport(stream)
	case "lz4":
		return rpc.NewStreamTransport(newLZ4Stream(stream))
	case "packed/lz4":
		return rpc.NewPackedStreamTransport(newLZ4Stream(stream))
	}
	return rpc.NewStreamTransport(stream)
}

// lz4Stream compresses a stream. Every write is flushed: the other side waits
// for each message.
type lz4Stream struct {
	network.Stream
	reader *lz4.Reader
	writer *lz4.Writer
}

func newLZ4Stream(stream network.Stream) io.ReadWriteCloser {
	writer := lz4.NewWriter(stream)
	// The option is valid, and the writer has written nothing yet.
	_ = writer.Apply(lz4.BlockSizeOption(lz4.Block64Kb))
	return &lz4Stream{stream, lz4.NewReader(stream), writer}
}

// Read gives one byte, because the decoder waits until what it is given to fill
// is full, and the next block may be long in coming.
func (s *lz4Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return s.reader.Read(p[:1])
}

func (s *lz4Stream) Write(p []byte) (int, error) {
	n, err := s.writer.Write(p)
	return n, errors.Join(err, s.writer.Flush())
}

func (s *lz4Stream) Close() error {
	return errors.Join(s.writer.Close(), s.Stream.Close())
}
