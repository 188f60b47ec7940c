package peer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/wetware/casm/interop/go/internal/abuse"
	"github.com/wetware/casm/interop/go/internal/table"
	"github.com/wetware/casm/interop/go/internal/wire"
)

// events collects a node's output.
type events struct {
	mu    sync.Mutex
	lines []map[string]any
}

func (e *events) Write(data []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			return 0, err
		}
		e.lines = append(e.lines, fields)
	}
	return len(data), nil
}

// wait gives the first event for which a condition holds.
func (e *events) wait(t *testing.T, what string, holds func(map[string]any) bool) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		e.mu.Lock()
		lines := e.lines
		e.mu.Unlock()
		for _, line := range lines {
			if holds(line) {
				return line
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s: %v", what, e.lines)
	return nil
}

func (e *events) joined(t *testing.T, n *Node) {
	t.Helper()
	e.wait(t, "a heartbeat", func(line map[string]any) bool {
		record, _ := line["record"].(map[string]any)
		return line["event"] == "peer-joined" && record["peer"] == n.host.ID().String()
	})
}

func startNode(t *testing.T, seed uint64, change func(*Config)) (*Node, *events) {
	t.Helper()
	bytes := binary.BigEndian.AppendUint64(make([]byte, ed25519.SeedSize-8), seed)
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(bytes))
	if err != nil {
		t.Fatal(err)
	}
	config := Config{
		Namespace: "test", Key: key,
		Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"},
		Heartbeat: wire.Heartbeat{
			TTL: 2 * time.Second, Server: seed, Host: "host", Meta: []string{"role=test"},
		},
	}
	if change != nil {
		change(&config)
	}
	e := &events{}
	n, err := Start(config, NewOutput(e))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n, e
}

func addrOf(n *Node) string {
	return n.host.Addrs()[0].String() + "/p2p/" + n.host.ID().String()
}

func TestTwoNodesSpeakEveryProtocol(t *testing.T) {
	a, aEvents := startNode(t, 1, func(c *Config) { c.Serve = []string{"/ip4/127.0.0.1/udp/0"} })
	served := aEvents.wait(t, "a socket", func(l map[string]any) bool { return l["event"] == "serving" })
	boot := bootAddrOf(t, served["socket"].(string))
	b, bEvents := startNode(t, 2, func(c *Config) { c.Boot, c.Degree = []string{boot}, 1 })

	aEvents.joined(t, b)
	bEvents.joined(t, a)
	bEvents.wait(t, "a round", func(l map[string]any) bool {
		return l["event"] == "pex-round" && l["ok"] == true
	})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := b.Ping(ctx, a.host.ID()); err != nil {
		t.Error(err)
	}
	for _, encoding := range Encodings {
		for _, lookup := range []bool{false, true} {
			query := table.Query{Reverse: true, Limit: 2, Match: &table.Index{
				Field: table.Meta, Value: "role=", Prefix: true,
			}}
			records, err := b.ViewOf(ctx, a.host.ID(), encoding, lookup, query)
			want := 2
			if lookup {
				want = 1
			}
			if err != nil || len(records) != want {
				t.Errorf("%s, lookup %v: %v, %v", encoding, lookup, records, err)
			}
		}
	}

	if err := b.Leave(); err != nil {
		t.Error(err)
	}
	aEvents.wait(t, "a goodbye", func(l map[string]any) bool {
		return l["event"] == "peer-left" && l["reason"] == "left"
	})
}

func bootAddrOf(t *testing.T, socket string) string {
	t.Helper()
	host, port, found := bytes.Cut([]byte(socket), []byte(":"))
	if !found {
		t.Fatalf("socket %q", socket)
	}
	return "/ip4/" + string(host) + "/udp/" + string(port)
}

// What a node may not be moved by moves this one neither, so that a test of
// another node does not fail because of it.
func TestAbusesLeaveTheTableAlone(t *testing.T) {
	a, aEvents := startNode(t, 3, nil)
	b, _ := startNode(t, 4, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if _, err := b.Connect(ctx, addrOf(a)); err != nil {
		t.Fatal(err)
	}
	aEvents.joined(t, b)
	for _, kind := range []string{"heartbeat-pointers", "seqno-length", "pex-hop", "pex-last", "pex-flood", "stall"} {
		done, err := abuse.Run(ctx, kind, abuse.Params{
			Namespace: "test", Target: addrOf(a), Times: 7, Hold: 10 * time.Millisecond,
		})
		if err != nil || done != 7 {
			t.Errorf("%s: done %d times: %v", kind, done, err)
		}
	}
	if records := a.cluster.records(); len(records) != 2 {
		t.Errorf("the table holds %v", records)
	}
	for _, g := range a.pex.items() {
		if g.Hop == 0 {
			t.Errorf("a hop has wrapped: %v", g)
		}
	}
}
