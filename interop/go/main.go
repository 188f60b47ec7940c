// Program casm-go is a CASM node on go-libp2p, for interoperability tests. It
// writes one JSON object per line to stdout and takes commands, one JSON object
// per line, from stdin; the end of the input is a clean leave.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/pnet"

	"github.com/wetware/casm/interop/go/internal/peer"
	"github.com/wetware/casm/interop/go/internal/wire"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	out := peer.NewOutput(os.Stdout)
	if err := run(out); err != nil {
		out.Error("Config", err)
		fmt.Fprintln(os.Stderr, "casm-go:", err)
		os.Exit(1)
	}
}

func run(out *peer.Output) error {
	config, err := parseFlags()
	if err != nil {
		return err
	}
	node, err := peer.Start(config, out)
	if err != nil {
		return err
	}
	defer node.Close()

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		readCommands(node, out)
	}()
	select {
	case <-signals:
	case <-ended:
	}
	return node.Leave()
}

// readCommands starts each command as it comes, and waits for all at the end of
// the input.
func readCommands(node *peer.Node, out *peer.Output) {
	var running sync.WaitGroup
	defer running.Wait()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c peer.Command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			out.Error("Invalid", err)
			continue
		}
		running.Go(func() { node.Do(c) })
	}
}

func parseFlags() (peer.Config, error) {
	var (
		config           peer.Config
		listen, boot     list
		serve, meta, via list
		keyFile, keyType string
		secretFile       string
		seed             int64
		host             string
		ttl              time.Duration
	)
	hostname, _ := os.Hostname()
	flag.StringVar(&config.Namespace, "ns", "casm", "`namespace`")
	flag.Var(&listen, "listen", "`multiaddr` to listen at (repeatable; default TCP and QUIC on loopback)")
	flag.Var(&boot, "boot", "boot `address` to find peers at (repeatable)")
	flag.Var(&serve, "serve", "boot `address` to answer at (repeatable)")
	flag.Var(&meta, "meta", "`key=value` of the heartbeat (repeatable)")
	flag.StringVar(&host, "host", hostname, "host `name` of the heartbeat")
	flag.DurationVar(&ttl, "ttl", wire.DefaultTTL, "TTL of the heartbeat")
	flag.BoolVar(&config.Observer, "observer", false, "send no heartbeat")
	flag.BoolVar(&config.ForgedView, "forged-view", false, "serve a view of peers that don't exist, whose proofs are wrong")
	flag.DurationVar(&config.PexTick, "pex-tick", 5*time.Minute, "pace of peer exchange; 0 for none")
	flag.IntVar(&config.Degree, "degree", 4, "connections below which more peers are looked for")
	flag.StringVar(&keyFile, "key", "", "identity `file` (libp2p protobuf)")
	flag.StringVar(&keyType, "key-type", "ed25519", "type of a fresh key: ed25519, secp256k1, ecdsa or rsa")
	flag.StringVar(&secretFile, "secret", "", "swarm.key `file` of a private network")
	flag.Int64Var(&seed, "seed", -1, "number from which to derive an ed25519 key")
	flag.StringVar(&config.Security, "security", "", "noise or tls; both by default")
	flag.StringVar(&config.FirstMuxer, "first-muxer", "", "`id` of a muxer to offer before yamux, which must be declined")
	flag.BoolVar(&config.NAT.On, "nat", false, "use relays, punch holes, and try for others where they are reached")
	flag.StringVar(&config.NAT.Relay, "relay", "", "relay for others, with the `limits` default, large (64 MiB and 1 h) or none")
	flag.Var(&via, "via", "`multiaddr` of a relay over which alone it is reached (repeatable)")
	flag.BoolVar(&config.Lazy, "lazy", false, "join no mesh: get and give by IHAVE and IWANT alone")
	flag.IntVar(&config.ValidateQueue, "validate-queue", 0, "messages that may wait to be checked; the library's 32 if it is 0")
	flag.Parse()
	if flag.NArg() > 0 {
		return config, fmt.Errorf("argument %q is not understood: everything is a flag", flag.Arg(0))
	}
	if secretFile != "" {
		file, err := os.Open(secretFile)
		if err != nil {
			return config, err
		}
		defer file.Close()
		if config.PSK, err = pnet.DecodeV1PSK(file); err != nil {
			return config, err
		}
	}
	if len(listen) == 0 {
		listen = list{"/ip4/127.0.0.1/tcp/0"}
		if config.PSK == nil {
			listen = append(listen, "/ip4/127.0.0.1/udp/0/quic-v1")
		}
	}
	key, err := loadKey(keyFile, keyType, seed)
	if err != nil {
		return config, err
	}
	config.Key, config.Listen, config.Boot, config.Serve = key, listen, boot, serve
	config.NAT.Via = via
	config.Heartbeat = wire.Heartbeat{TTL: ttl, Server: rand.Uint64(), Host: host, Meta: meta}
	return config, nil
}
