package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"google.golang.org/protobuf/proto"
)

// golden is a row of the golden directory's index.
type golden struct {
	File, Kind, Key, Peer, Namespace, From, Host, Server, Topic, Sender string

	Addrs       []string
	SenderAddrs []string `json:"sender_addrs"`
	Distance    uint8
	Len         int
	Meta        []string
	TTL         int64  `json:"ttl_ms"`
	MessageID   string `json:"message_id_hex"`
	Hops        []uint64

	data []byte
}

// load gives the golden files of the kinds named.
func load(t *testing.T, want int, kinds ...string) (rows []golden) {
	t.Helper()
	dir := os.Getenv("CASM_GOLDEN")
	if dir == "" {
		t.Skip("CASM_GOLDEN is not set: the golden files are not checked")
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	check(t, err)
	var all []golden
	check(t, json.Unmarshal(index, &all))
	for _, row := range all {
		for _, kind := range kinds {
			if row.Kind == kind {
				row.data, err = os.ReadFile(filepath.Join(dir, row.File))
				check(t, err)
				equal(t, row.File+" length", len(row.data), row.Len)
				rows = append(rows, row)
			}
		}
	}
	equal(t, "number of files", len(rows), want)
	return rows
}

func TestGoldenBootPackets(t *testing.T) {
	for _, row := range load(t, 14, "boot request", "boot survey", "boot response") {
		packet, err := OpenPacket(row.data)
		check(t, err)
		equal(t, row.File+" kind", "boot "+string(packet.Kind), row.Kind)
		equal(t, row.File+" peer", packet.Peer.String(), row.Peer)
		equal(t, row.File+" namespace", packet.Namespace, row.Namespace)
		equal(t, row.File+" distance", packet.Distance, row.Distance)
		equal(t, row.File+" addresses", fmt.Sprint(packet.Addrs), fmt.Sprint(row.Addrs))

		// What we encode is what was encoded there, byte for byte, where no
		// address was lost.
		envelope, err := record.ConsumeTypedEnvelope(row.data, new(Packet))
		check(t, err)
		if row.File != "response.bin" {
			payload, err := packet.MarshalRecord()
			check(t, err)
			if !bytes.Equal(payload, envelope.RawPayload) {
				t.Errorf("%s: encoded as\n%x, not\n%x", row.File, payload, envelope.RawPayload)
			}
		}

		for i := range row.data {
			broken := bytes.Clone(row.data)
			broken[i] ^= 0x80
			if p, err := OpenPacket(broken); err == nil && fmt.Sprint(*p) != fmt.Sprint(*packet) {
				t.Errorf("%s: accepted with another meaning when byte %d is changed", row.File, i)
			}
			if _, err := OpenPacket(row.data[:i]); err == nil {
				t.Errorf("%s: accepted when cut to %d bytes", row.File, i)
			}
		}
	}
}

func TestGoldenHeartbeats(t *testing.T) {
	for _, row := range load(t, 2, "heartbeat (packed capnp; message data)") {
		h, err := DecodeHeartbeat(row.data)
		check(t, err)
		checkHeartbeat(t, row, h)
	}
}

func checkHeartbeat(t *testing.T, row golden, h Heartbeat) {
	t.Helper()
	equal(t, row.File+" host", h.Host, row.Host)
	equal(t, row.File+" TTL", h.TTL, time.Duration(row.TTL)*time.Millisecond)
	equal(t, row.File+" server", fmt.Sprintf("%016x", h.Server), row.Server)
	equal(t, row.File+" meta", fmt.Sprint(h.Meta), fmt.Sprint(row.Meta))
	data, err := EncodeHeartbeat(h)
	check(t, err)
	if row.File == "heartbeat-0.bin" && !bytes.Equal(data, row.data) {
		t.Errorf("encoded as\n%x, not\n%x", data, row.data)
	}
}

func TestGoldenPubsubMessages(t *testing.T) {
	heartbeats := load(t, 2, "heartbeat (packed capnp; message data)")
	for i, row := range load(t, 2, "pubsub RPC Message protobuf, signed") {
		var message pb.Message
		check(t, proto.Unmarshal(row.data, &message))
		equal(t, row.File+" topic", message.GetTopic(), row.Topic)
		equal(t, row.File+" id", hex.EncodeToString([]byte(MessageID(&message))), row.MessageID)
		if !bytes.Equal(message.Data, heartbeats[i].data) {
			t.Errorf("%s does not carry %s", row.File, heartbeats[i].File)
		}

		from, err := peer.IDFromBytes(message.From)
		check(t, err)
		equal(t, row.File+" from", from.String(), row.From)
		key, err := from.ExtractPublicKey()
		check(t, err)
		signature := message.Signature
		message.Signature, message.Key = nil, nil
		signed, err := proto.Marshal(&message)
		check(t, err)
		ok, err := key.Verify(append([]byte("libp2p-pubsub:"), signed...), signature)
		check(t, err)
		equal(t, row.File+" signature", ok, true)
	}
}

func TestGoldenGossip(t *testing.T) {
	for _, row := range load(t, 2, "one direction of a pex round, as sent by this node") {
		view, err := ReadGossip(bytes.NewReader(row.data))
		check(t, err)
		last := view[len(view)-1]
		equal(t, row.File+" sender", last.Record.PeerID.String(), row.Sender)
		equal(t, row.File+" addresses", fmt.Sprint(last.Record.Addrs), fmt.Sprint(row.SenderAddrs))
		if row.Hops != nil {
			var hops []uint64
			for _, g := range view {
				hops = append(hops, g.Hop)
			}
			equal(t, row.File+" hops", fmt.Sprint(hops), fmt.Sprint(row.Hops))
		}

		var again bytes.Buffer
		w, err := NewGossipWriter(&again)
		check(t, err)
		for _, g := range view {
			check(t, w.Write(g.Hop, g.Envelope))
		}
		check(t, w.Close())
		reread, err := ReadGossip(&again)
		check(t, err)
		equal(t, row.File+" records after a second trip", len(reread), len(view))

		for i := range row.data {
			if _, err := ReadGossip(bytes.NewReader(row.data[:i])); err == nil {
				t.Errorf("%s: accepted when cut to %d bytes", row.File, i)
			}
		}
	}
}

func TestGoldenPeerRecord(t *testing.T) {
	for _, row := range load(t, 1, "signed peer record envelope") {
		g, err := NewGossip(row.data)
		check(t, err)
		equal(t, row.File+" peer", g.Record.PeerID.String(), row.Peer)
		equal(t, row.File+" addresses", fmt.Sprint(g.Record.Addrs), fmt.Sprint(row.Addrs))
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
