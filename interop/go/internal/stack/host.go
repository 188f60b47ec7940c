// Package stack has the libp2p host that the node and its abuses share.
package stack

import (
	"errors"
	"fmt"
	"net"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

// NewHost makes a libp2p host with the transports that CASM uses. If a muxer is
// named, its id is offered before yamux; whoever takes it up gets no answer that
// it would understand. With a pre-shared key it is in a private network, and has no
// QUIC, which has no such thing. What is said of NATs is added.
func NewHost(key crypto.PrivKey, listen []string, security, firstMuxer string, psk pnet.PSK, nat NAT) (host.Host, error) {
	options := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.ListenAddrStrings(listen...),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	}
	if psk != nil {
		options = append(options, libp2p.PrivateNetwork(psk))
	} else {
		options = append(options, libp2p.Transport(quic.NewTransport))
	}
	if len(listen) == 0 {
		options = append(options, libp2p.NoListenAddrs)
	}
	switch security {
	case "":
		options = append(options,
			libp2p.Security(noise.ID, noise.New), libp2p.Security(libp2ptls.ID, libp2ptls.New))
	case "noise":
		options = append(options, libp2p.Security(noise.ID, noise.New))
	case "tls":
		options = append(options, libp2p.Security(libp2ptls.ID, libp2ptls.New))
	default:
		return nil, fmt.Errorf("security %q is neither noise nor tls", security)
	}
	if firstMuxer != "" {
		options = append(options, libp2p.Muxer(firstMuxer, noMuxer{}), libp2p.Muxer(yamux.ID, yamux.DefaultTransport))
	}
	ofNAT, err := nat.Options()
	if err != nil {
		return nil, err
	}
	return libp2p.New(append(options, ofNAT...)...)
}

// noMuxer is a muxer in name only.
type noMuxer struct{}

func (noMuxer) NewConn(net.Conn, bool, network.PeerScope) (network.MuxedConn, error) {
	return nil, errors.New("a muxer that is not there was agreed on")
}
