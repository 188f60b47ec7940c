package stack

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	relayv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
)

// NAT says how a host gets along with NATs.
type NAT struct {
	// On has it dial and be dialled over relays, punch holes, and try by AutoNAT v2
	// where it is reached, as it tries for others.
	On bool
	// Relay has it relay for others, with limits by this name: see relayLimits.
	Relay string
	// Via are the relays that take what is for it, since nobody else reaches it.
	Via []string
}

// Limits of relays: none means that relayed connections are like others, for which
// go-libp2p doesn't take them else.
var relayLimits = map[string]*relayv2.RelayLimit{
	"default": relayv2.DefaultLimit(),
	"large":   {Duration: time.Hour, Data: 64 << 20},
	"none":    nil,
}

// Options are those of the host.
func (n NAT) Options() ([]libp2p.Option, error) {
	if !n.On && n.Relay == "" && len(n.Via) == 0 {
		return nil, nil
	}
	options := []libp2p.Option{libp2p.EnableRelay(), libp2p.EnableHolePunching(), libp2p.EnableAutoNATv2()}
	if n.Relay != "" {
		limit, known := relayLimits[n.Relay]
		if !known {
			return nil, fmt.Errorf("relay limits %q are none of default, large, none", n.Relay)
		}
		// It would relay only once three others have told it where it is.
		options = append(options, libp2p.ForceReachabilityPublic(),
			libp2p.EnableRelayService(relayv2.WithLimit(limit)))
	}
	if len(n.Via) > 0 {
		relays := make([]peer.AddrInfo, len(n.Via))
		for i, addr := range n.Via {
			info, err := peer.AddrInfoFromString(addr)
			if err != nil {
				return nil, err
			}
			relays[i] = *info
		}
		options = append(options, libp2p.ForceReachabilityPrivate(),
			libp2p.EnableAutoRelayWithStaticRelays(relays, autorelay.WithBootDelay(0)))
	}
	return options, nil
}
