// Package wire has the codecs of CASM's wire format: pure functions between
// bytes and plain Go values.
package wire

import (
	"bytes"
	"fmt"
	"path"

	"capnproto.org/go/capnp/v3"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// ProtocolID is the id of a protocol of a namespace.
func ProtocolID(ns string, parts ...string) protocol.ID {
	return protocol.ID(path.Join(append([]string{"/casm/0.0.0", ns}, parts...)...))
}

// pack makes one message in packed encoding, standard segment table included.
func pack(fill func(*capnp.Segment) error) ([]byte, error) {
	message, segment, err := capnp.NewMessage(capnp.SingleSegment(nil))
	if err != nil {
		return nil, err
	}
	defer message.Release()
	if err := fill(segment); err != nil {
		return nil, err
	}
	return message.MarshalPacked()
}

// unpack reads one packed message. Whatever a malformed message does to the
// reader, it comes back as an error.
func unpack(data []byte, read func(*capnp.Message) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed message: %v", r)
		}
	}()
	// Unpacked, a message may be a thousand times longer than its bytes.
	decoder := capnp.NewPackedDecoder(bytes.NewReader(data))
	decoder.MaxMessageSize = MaxMessage
	message, err := decoder.Decode()
	if err != nil {
		return err
	}
	return read(message)
}
