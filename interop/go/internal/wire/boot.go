package wire

import (
	"errors"
	"fmt"

	"capnproto.org/go/capnp/v3"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/wetware/casm/interop/go/internal/schema/boot"
)

// MaxDatagram is the most bytes of a boot datagram.
const MaxDatagram = 2048

// Kind says what a boot packet wants.
type Kind string

// The kinds of boot packets.
const (
	Request  Kind = "request"
	Survey   Kind = "survey"
	Response Kind = "response"
)

// Packet is a datagram of the boot protocol.
type Packet struct {
	Kind      Kind
	Peer      peer.ID
	Namespace string
	// Distance is the number of XOR bits that a survey ignores.
	Distance uint8
	// Nonce is that of a survey, for its answers to echo; 0 if there is none. Our
	// schema is without: Go's nodes read past it.
	Nonce uint64
	// Addrs are those of a response that are understood here.
	Addrs []ma.Multiaddr
}

// Domain is the domain that a packet's signature is bound to.
func (*Packet) Domain() string { return "casm-boot-record" }

// Codec is the payload type of a packet's envelope.
func (*Packet) Codec() []byte { return []byte{0x1f, 0x00} }

// MarshalRecord encodes the payload.
func (p *Packet) MarshalRecord() ([]byte, error) {
	return pack(func(s *capnp.Segment) error {
		root, err := newPacket(s, p.Nonce)
		if err != nil {
			return err
		}
		if err := root.SetNamespace(p.Namespace); err != nil {
			return err
		}
		switch p.Kind {
		case Request:
			root.SetRequest()
			return root.Request().SetFrom(string(p.Peer))
		case Survey:
			root.SetSurvey()
			root.Survey().SetDistance(p.Distance)
			return root.Survey().SetFrom(string(p.Peer))
		case Response:
			root.SetResponse()
			if err := root.Response().SetPeer(string(p.Peer)); err != nil {
				return err
			}
			addrs, err := root.Response().NewAddrs(int32(len(p.Addrs)))
			for i := 0; err == nil && i < len(p.Addrs); i++ {
				err = addrs.Set(i, p.Addrs[i].Bytes())
			}
			return err
		}
		return fmt.Errorf("boot packets of kind %q do not exist", p.Kind)
	})
}

// nonceAt is where the nonce is in the data of a packet.
const nonceAt = 8

func newPacket(s *capnp.Segment, nonce uint64) (boot.Packet, error) {
	if nonce == 0 {
		return boot.NewRootPacket(s)
	}
	root, err := capnp.NewRootStruct(s, capnp.ObjectSize{DataSize: nonceAt + 8, PointerCount: 3})
	if err == nil {
		root.SetUint64(nonceAt, nonce)
	}
	return boot.Packet(root), err
}

// UnmarshalRecord decodes a payload.
func (p *Packet) UnmarshalRecord(data []byte) error {
	return unpack(data, func(m *capnp.Message) error {
		root, err := boot.ReadRootPacket(m)
		if err != nil {
			return err
		}
		if p.Namespace, err = root.Namespace(); err != nil {
			return err
		}
		p.Nonce = capnp.Struct(root).Uint64(nonceAt)
		var id string
		switch root.Which() {
		case boot.Packet_Which_request:
			p.Kind = Request
			id, err = root.Request().From()
		case boot.Packet_Which_survey:
			p.Kind, p.Distance = Survey, root.Survey().Distance()
			id, err = root.Survey().From()
		case boot.Packet_Which_response:
			p.Kind = Response
			if id, err = root.Response().Peer(); err == nil {
				err = p.readAddrs(root.Response())
			}
		default:
			return fmt.Errorf("boot packet of unknown kind %d", root.Which())
		}
		if err != nil {
			return err
		}
		p.Peer, err = peer.IDFromBytes([]byte(id))
		return err
	})
}

func (p *Packet) readAddrs(response boot.Packet_response) error {
	addrs, err := response.Addrs()
	if err != nil {
		return err
	}
	for i := 0; i < addrs.Len(); i++ {
		data, err := addrs.At(i)
		if err != nil {
			return err
		}
		if addr, err := ma.NewMultiaddrBytes(data); err == nil {
			p.Addrs = append(p.Addrs, addr)
		}
	}
	return nil
}

// SealPacket signs a packet into a datagram.
func SealPacket(key crypto.PrivKey, p *Packet) ([]byte, error) {
	envelope, err := record.Seal(p, key)
	if err != nil {
		return nil, err
	}
	data, err := envelope.Marshal()
	if err == nil && len(data) > MaxDatagram {
		err = fmt.Errorf("a datagram of %d bytes exceeds %d", len(data), MaxDatagram)
	}
	return data, err
}

// OpenPacket verifies and decodes a datagram.
func OpenPacket(data []byte) (*Packet, error) {
	if len(data) > MaxDatagram {
		return nil, fmt.Errorf("a datagram of %d bytes exceeds %d", len(data), MaxDatagram)
	}
	p := new(Packet)
	envelope, err := record.ConsumeTypedEnvelope(data, p)
	if err != nil {
		return nil, err
	}
	if !p.Peer.MatchesPublicKey(envelope.PublicKey) {
		return nil, errors.New("the packet names another peer than its signer")
	}
	return p, nil
}

// Near says whether a survey of this distance that one peer sent is to be
// answered by the other.
func Near(a, b peer.ID, distance uint8) bool {
	return (tail(a)^tail(b))>>distance == 0
}

// tail is the last four bytes of an id, the last one most significant.
func tail(id peer.ID) (n uint32) {
	for i := 1; i <= 4 && i <= len(id); i++ {
		n = n<<8 | uint32(id[len(id)-i])
	}
	return n
}
