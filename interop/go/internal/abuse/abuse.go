// Package abuse does to a node what a hostile peer with a correct libp2p stack
// can do. Every abuse comes from a fresh identity, so that the node under test
// cannot hold it against an honest peer.
package abuse

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/wetware/casm/interop/go/internal/stack"
)

// Params say whom to abuse, and how much.
type Params struct {
	Namespace string
	// Target is a multiaddr that ends in /p2p/<id>.
	Target string
	// Times is how often it is done.
	Times int
	// Server is the server number that is claimed.
	Server uint64
	// Hold is how long what stalls is held open.
	Hold time.Duration
	// Boot is the UDP address that answers boot requests.
	Boot string
	// Victim is the peer in whose name something is forged, with the number
	// Seq.
	Victim string
	Seq    uint64
}

// abuses are all kinds. Each says how often it was done.
var abuses = map[string]func(context.Context, Params) (int, error){
	"heartbeat-pointers": heartbeatPointers,
	"seqno-length":       seqnoLength,
	"server-claim":       serverClaim,
	"identities":         identities,
	"ghosts":             ghosts,
	"escapes":            escapes,
	"pex-flood":          pexFlood,
	"pex-hop":            pexHop,
	"pex-last":           pexLast,
	"pex-addrs":          pexAddrs,
	"stall":              stall,
	"lz4-bomb":           lz4Bomb,
	"boot-identities":    bootIdentities,
	"boot-garbage":       bootGarbage,
	"boot-answers":       bootAnswers,
	"connections":        connections,
	"sync-slow":          syncSlow,
	"sync-again":         syncAgain,
	"sync-sybils":        syncSybils,
	"rpc-iter":           rpcIter,
	"rpc-partial":        rpcPartial,
	"bad-signatures":     badSignatures,
	"malformed-frames":   malformedFrames,
	"graft-in-backoff":   graftInBackoff,
	"prune-unjoined":     pruneUnjoined,
	"further-streams":    furtherStreams,
	"broken-promises":    brokenPromises,
	"asks-again":         asksAgain,
	"many-topics":        manyTopics,
	"forged":             forged,
	"burst":              burst,
	"message-flood":      messageFlood,
}

// Run does one kind of abuse.
func Run(ctx context.Context, kind string, p Params) (int, error) {
	abuse, known := abuses[kind]
	if !known {
		return 0, fmt.Errorf("abuse %q is none of %v", kind, slices.Sorted(maps.Keys(abuses)))
	}
	p.Times = max(p.Times, 1)
	return abuse(ctx, p)
}

func freshKey() (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(nil)
	return key, err
}

// attacker is a fresh identity that is connected to the target.
type attacker struct {
	key    crypto.PrivKey
	host   host.Host
	target peer.ID
}

// newAttacker connects an attacker that accepts these protocols, and reads
// nothing of them. They must be there before the connection: a node that was
// once refused a protocol does not speak it with that peer any more.
func newAttacker(ctx context.Context, p Params, accepts ...protocol.ID) (*attacker, error) {
	info, err := peer.AddrInfoFromString(p.Target)
	if err != nil {
		return nil, err
	}
	key, err := freshKey()
	if err != nil {
		return nil, err
	}
	h, err := stack.NewHost(key, nil, "", "", nil, stack.NAT{})
	if err != nil {
		return nil, err
	}
	for _, id := range accepts {
		h.SetStreamHandler(id, func(s network.Stream) { _, _ = io.Copy(io.Discard, s) })
	}
	if err := h.Connect(ctx, *info); err != nil {
		_ = h.Close()
		return nil, err
	}
	return &attacker{key, h, info.ID}, nil
}

func (a *attacker) close() { _ = a.host.Close() }
