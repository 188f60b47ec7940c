package wire

import (
	"errors"
	"fmt"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/wetware/casm/interop/go/internal/schema/cluster"
)

// DefaultTTL is what a TTL of zero stands for.
const DefaultTTL = 10 * time.Second

// Heartbeat is what a peer says of itself.
type Heartbeat struct {
	TTL    time.Duration
	Server uint64
	Host   string
	// Meta has fields of the form key=value.
	Meta []string
}

// Write fills a Cap'n Proto struct.
func (h Heartbeat) Write(to cluster.Heartbeat) error {
	to.SetTtl(uint32(h.TTL / time.Millisecond))
	to.SetServer(h.Server)
	if err := to.SetHost(h.Host); err != nil {
		return err
	}
	meta, err := to.NewMeta(int32(len(h.Meta)))
	for i := 0; err == nil && i < len(h.Meta); i++ {
		err = meta.Set(i, h.Meta[i])
	}
	return err
}

// ReadHeartbeat reads every field of a Cap'n Proto struct. The library takes a
// pointer of the wrong kind for an absent one; here it is an error.
func ReadHeartbeat(from cluster.Heartbeat) (h Heartbeat, err error) {
	h.TTL = time.Duration(from.Ttl()) * time.Millisecond
	if h.TTL == 0 {
		h.TTL = DefaultTTL
	}
	h.Server = from.Server()
	host, err := capnp.Struct(from).Ptr(0)
	if err == nil {
		h.Host, err = readText(host)
	}
	if err != nil {
		return h, fmt.Errorf("host: %w", err)
	}
	meta, err := capnp.Struct(from).Ptr(1)
	if err == nil {
		h.Meta, err = readTexts(meta)
	}
	if err != nil {
		return h, fmt.Errorf("meta: %w", err)
	}
	return h, nil
}

func readText(p capnp.Ptr) (string, error) {
	text := p.TextBytes()
	if p.IsValid() && text == nil {
		return "", errors.New("the pointer is not one to a text")
	}
	return string(text), nil
}

func readTexts(p capnp.Ptr) ([]string, error) {
	if p.IsValid() && !p.List().IsValid() {
		return nil, errors.New("the pointer is not one to a list")
	}
	list := capnp.PointerList(p.List())
	texts := make([]string, list.Len())
	for i := range texts {
		element, err := list.At(i)
		if err == nil {
			texts[i], err = readText(element)
		}
		if err != nil {
			return nil, fmt.Errorf("field %d: %w", i, err)
		}
	}
	return texts, nil
}

// EncodeHeartbeat makes the data of a pubsub message.
func EncodeHeartbeat(h Heartbeat) ([]byte, error) {
	return pack(func(s *capnp.Segment) error {
		root, err := cluster.NewRootHeartbeat(s)
		if err != nil {
			return err
		}
		return h.Write(root)
	})
}

// EncodeSentAt encodes a heartbeat with the field of Rust's schema that says when
// it was sent.
func EncodeSentAt(h Heartbeat, sentAt time.Time) ([]byte, error) {
	return pack(func(s *capnp.Segment) error {
		root, err := capnp.NewRootStruct(s, capnp.ObjectSize{DataSize: 24, PointerCount: 3})
		if err != nil {
			return err
		}
		root.SetUint64(16, uint64(sentAt.UnixMilli()))
		return h.Write(cluster.Heartbeat(root))
	})
}

// DecodeHeartbeat reads the data of a pubsub message.
func DecodeHeartbeat(data []byte) (h Heartbeat, err error) {
	err = unpack(data, func(m *capnp.Message) error {
		root, err := cluster.ReadRootHeartbeat(m)
		if err == nil {
			h, err = ReadHeartbeat(root)
		}
		return err
	})
	return h, err
}
