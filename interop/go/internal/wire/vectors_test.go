package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/pierrec/lz4/v4"
	"google.golang.org/protobuf/proto"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
)

// data is a field of hexadecimal digits.
type data []byte

func (d *data) UnmarshalText(text []byte) error {
	*d = make([]byte, hex.DecodedLen(len(text)))
	_, err := hex.Decode(*d, text)
	return err
}

// vectors reads a file of test vectors that the Rust code made.
func vectors[T any](t *testing.T, name string) (file T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../../docs/spec/vectors", name))
	check(t, err)
	check(t, json.Unmarshal(text, &file))
	return file
}

func some[T any](t *testing.T, list []T) []T {
	t.Helper()
	if len(list) == 0 {
		t.Fatal("no vectors")
	}
	return list
}

// keys are those that sign the vectors, by name.
func keys(t *testing.T) map[string]crypto.PrivKey {
	file := vectors[struct {
		Keys []struct {
			Name, Peer string
			PrivateKey data `json:"private_key"`
			PublicKey  data `json:"public_key"`
			PeerBytes  data `json:"peer_bytes"`
		}
	}](t, "keys.json")
	all := make(map[string]crypto.PrivKey)
	for _, row := range some(t, file.Keys) {
		public, err := crypto.UnmarshalPublicKey(row.PublicKey)
		check(t, err)
		id, err := peer.IDFromPublicKey(public)
		check(t, err)
		equal(t, row.Name+" peer", id.String(), row.Peer)
		equal(t, row.Name+" peer's bytes", string(id), string(row.PeerBytes))
		if row.PrivateKey == nil {
			continue // in a form that is not libp2p's
		}
		key, err := crypto.UnmarshalPrivateKey(row.PrivateKey)
		check(t, err)
		equal(t, row.Name+" public key", key.GetPublic().Equals(public), true)
		all[row.Name] = key
	}
	return all
}

// deterministic says whether Go's signatures by a key are those of the vectors:
// its ECDSA ones are random.
func deterministic(key crypto.PrivKey) bool {
	return key != nil && key.Type() != crypto.ECDSA
}

const badType = "bad-payload-type"

type refusal struct {
	Name, Reason, Sender string
	Hex                  data
}

func TestVectorsOfBootPackets(t *testing.T) {
	keys := keys(t)
	file := vectors[struct {
		Packets []struct {
			Name, Key, Kind, Peer, Namespace string
			Distance                         uint8
			Padding, Unknown                 int
			Go                               bool
			Addrs                            []string
			Payload, Hex                     data
		}
		Refused []refusal
	}](t, "boot.json")
	for _, row := range some(t, file.Packets) {
		packet, err := OpenPacket(row.Hex)
		check(t, err)
		equal(t, row.Name+" kind", string(packet.Kind), row.Kind)
		equal(t, row.Name+" peer", packet.Peer.String(), row.Peer)
		equal(t, row.Name+" namespace", packet.Namespace, row.Namespace)
		equal(t, row.Name+" distance", packet.Distance, row.Distance)
		equal(t, row.Name+" addresses", fmt.Sprint(packet.Addrs), fmt.Sprint(row.Addrs))
		if !row.Go {
			continue
		}
		payload, err := packet.MarshalRecord()
		check(t, err)
		equal(t, row.Name+" payload", hex.EncodeToString(payload), hex.EncodeToString(row.Payload))
		if key := keys[row.Key]; deterministic(key) {
			datagram, err := SealPacket(key, packet)
			check(t, err)
			equal(t, row.Name+" datagram", hex.EncodeToString(datagram), hex.EncodeToString(row.Hex))
		}
	}
	for _, row := range some(t, file.Refused) {
		packet, err := OpenPacket(row.Hex)
		// What a namespace may be is for each node to say, and go-libp2p does
		// not look at the payload type.
		if err == nil && row.Reason != "bad-namespace" && row.Reason != badType {
			t.Errorf("%s: read as %+v", row.Name, packet)
		}
	}
}

func TestVectorsOfDistances(t *testing.T) {
	file := vectors[struct {
		Positions []struct{ Peer, Position string }
		Pairs     []struct {
			Asker, Peer string
			From        int `json:"answers_from_distance"`
		}
	}](t, "distance.json")
	decode := func(text string) peer.ID {
		id, err := peer.Decode(text)
		check(t, err)
		return id
	}
	for _, row := range some(t, file.Positions) {
		equal(t, row.Peer, fmt.Sprint(tail(decode(row.Peer))), row.Position)
	}
	for _, row := range some(t, file.Pairs) {
		for distance := range 256 {
			near := Near(decode(row.Asker), decode(row.Peer), uint8(distance))
			equal(t, fmt.Sprint(row, " at ", distance), near, distance >= row.From)
		}
	}
}

func TestVectorsOfRecords(t *testing.T) {
	file := vectors[struct {
		Records []struct {
			Name, Peer, Seq string
			Addrs           []string
			Hex             data
		}
		Refused []refusal
	}](t, "record.json")
	for _, row := range some(t, file.Records) {
		g, err := NewGossip(row.Hex)
		check(t, err)
		equal(t, row.Name+" peer", g.Record.PeerID.String(), row.Peer)
		equal(t, row.Name+" sequence number", strconv.FormatUint(g.Record.Seq, 10), row.Seq)
		equal(t, row.Name+" addresses", fmt.Sprint(g.Record.Addrs), fmt.Sprint(row.Addrs))
	}
	for _, row := range some(t, file.Refused) {
		if g, err := NewGossip(row.Hex); err == nil && row.Reason != badType {
			t.Errorf("%s: read as %+v", row.Name, g.Record)
		}
	}
}

func TestVectorsOfRounds(t *testing.T) {
	type taken struct {
		Peer, Seq string
		Hop       uint64
		Envelope  data
	}
	file := vectors[struct {
		Rounds []struct {
			Name, Sender string
			Records      []taken
			Skipped      []string
			Raw, Hex     data
		}
		Refused []refusal
	}](t, "pex.json")
	for _, row := range some(t, file.Rounds) {
		raw, err := io.ReadAll(lz4.NewReader(bytes.NewReader(row.Hex)))
		check(t, err)
		equal(t, row.Name+" in its frame", hex.EncodeToString(raw), hex.EncodeToString(row.Raw))
		view, err := ReadGossip(bytes.NewReader(row.Hex))
		if len(row.Skipped) > 0 {
			if err == nil {
				t.Errorf("%s: a record that breaks the rules is taken", row.Name)
			}
			continue
		}
		check(t, err)
		equal(t, row.Name+" number of records", len(view), len(row.Records))
		for i, g := range view {
			want := row.Records[i]
			equal(t, row.Name+" peer", g.Record.PeerID.String(), want.Peer)
			equal(t, row.Name+" sequence number", strconv.FormatUint(g.Record.Seq, 10), want.Seq)
			equal(t, row.Name+" hop", g.Hop, want.Hop)
			equal(t, row.Name+" envelope", string(g.Envelope), string(want.Envelope))
		}

		// What we write holds the same bytes, whatever the frame.
		var again bytes.Buffer
		w, err := NewGossipWriter(&again)
		check(t, err)
		for _, g := range view {
			check(t, w.Write(g.Hop, g.Envelope))
		}
		check(t, w.Close())
		raw, err = io.ReadAll(lz4.NewReader(&again))
		check(t, err)
		equal(t, row.Name+" written", hex.EncodeToString(raw), hex.EncodeToString(row.Raw))
	}
	for _, row := range some(t, file.Refused) {
		view, err := ReadGossip(bytes.NewReader(row.Hex))
		// Two rules are not the decoder's: whose the last record is, and how
		// many a view holds.
		if err == nil && view[len(view)-1].Record.PeerID.String() == row.Sender && row.Reason != "too-many" {
			t.Errorf("%s: read as %d records", row.Name, len(view))
		}
	}
}

func TestVectorsOfHeartbeats(t *testing.T) {
	keys := keys(t)
	file := vectors[struct {
		Heartbeats []struct {
			Name, Server, Host string
			Meta               []string
			TTL                int64 `json:"sent_ttl_ms"`
			Go                 bool
			Hex                data
		}
		Refused []struct {
			Name, Verdict string
			Extension     bool
			Hex           data
		}
		Messages []struct {
			Name, Key, From, Seq, Topic string
			Data, ID, Hex               data
		}
		RefusedMessages []refusal `json:"refused_messages"`
	}](t, "heartbeat.json")
	for _, row := range some(t, file.Heartbeats) {
		h, err := DecodeHeartbeat(row.Hex)
		check(t, err)
		ttl := time.Duration(row.TTL) * time.Millisecond
		if ttl == 0 {
			ttl = DefaultTTL
		}
		equal(t, row.Name+" TTL", h.TTL, ttl)
		equal(t, row.Name+" server", fmt.Sprintf("%016x", h.Server), row.Server)
		equal(t, row.Name+" host", h.Host, row.Host)
		equal(t, row.Name+" meta", fmt.Sprint(h.Meta), fmt.Sprint(row.Meta))
		// An empty text is a null pointer here.
		if row.Go && row.Host != "" {
			encoded, err := EncodeHeartbeat(h)
			check(t, err)
			equal(t, row.Name+" encoded", hex.EncodeToString(encoded), hex.EncodeToString(row.Hex))
		}
	}
	for _, row := range some(t, file.Refused) {
		// What is over a limit of ours is no heartbeat here or is, as each has it.
		// The fields that are ours are read past, whatever is in them.
		h, err := DecodeHeartbeat(row.Hex)
		if err == nil && row.Verdict == "reject" && !row.Extension {
			t.Errorf("%s: read as %+v", row.Name, h)
		}
		if err != nil && row.Extension {
			t.Errorf("%s: %v", row.Name, err)
		}
	}
	for _, row := range some(t, file.Messages) {
		message, err := verify(row.Hex)
		check(t, err)
		equal(t, row.Name+" id", MessageID(message), string(row.ID))
		equal(t, row.Name+" topic", message.GetTopic(), row.Topic)
		equal(t, row.Name+" data", string(message.Data), string(row.Data))
		from, err := peer.IDFromBytes(message.From)
		check(t, err)
		equal(t, row.Name+" from", from.String(), row.From)
		seq, err := strconv.ParseUint(row.Seq, 10, 64)
		check(t, err)
		equal(t, row.Name+" sequence number", string(message.Seqno), string(seqno(seq)))
		if key := keys[row.Key]; deterministic(key) {
			signed, err := SignMessage(key, row.Topic, seqno(seq), row.Data)
			check(t, err)
			equal(t, row.Name+" signature", string(signed.Signature), string(message.Signature))
		}
	}
	for _, row := range some(t, file.RefusedMessages) {
		message, err := verify(row.Hex)
		if err == nil && len(message.Seqno) == 8 {
			t.Errorf("%s: verified", row.Name)
		}
	}
}

func seqno(n uint64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (56 - 8*i))
	}
	return b
}

// verify decodes a pubsub message and checks its signature.
func verify(bytes []byte) (*pb.Message, error) {
	message := new(pb.Message)
	if err := proto.Unmarshal(bytes, message); err != nil {
		return nil, err
	}
	from, err := peer.IDFromBytes(message.From)
	if err != nil {
		return nil, err
	}
	key, err := from.ExtractPublicKey()
	if message.Key != nil {
		key, err = crypto.UnmarshalPublicKey(message.Key)
	}
	if err != nil {
		return nil, err
	}
	if !from.MatchesPublicKey(key) {
		return nil, fmt.Errorf("the key is another's")
	}
	unsigned := proto.Clone(message).(*pb.Message)
	unsigned.Signature, unsigned.Key = nil, nil
	signed, err := proto.Marshal(unsigned)
	if err != nil {
		return nil, err
	}
	ok, err := key.Verify(append([]byte("libp2p-pubsub:"), signed...), message.Signature)
	if err == nil && !ok {
		err = fmt.Errorf("the signature is wrong")
	}
	return message, err
}
