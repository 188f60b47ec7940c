package peer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/rpc"
	rpccp "capnproto.org/go/capnp/v3/std/capnp/rpc"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/wetware/casm/interop/go/internal/schema/cluster"
	"github.com/wetware/casm/interop/go/internal/table"
	"github.com/wetware/casm/interop/go/internal/wire"
)

// goldenRecord is a record as the golden index has it.
type goldenRecord struct {
	Peer, Host, Seq, Server string
	Meta                    []string
	TTL                     int64 `json:"ttl_ms"`
}

type goldenSession struct {
	All    []goldenRecord
	Zone   int
	Lookup goldenRecord

	name     string
	toServer []byte
	toClient []byte
	decoder  func(io.Reader) *capnp.Decoder
	rpc      func(io.ReadWriteCloser) rpc.Transport
}

func loadSessions(t *testing.T) []goldenSession {
	t.Helper()
	dir := os.Getenv("CASM_GOLDEN")
	if dir == "" {
		t.Skip("CASM_GOLDEN is not set: the golden files are not checked")
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	var rows []map[string]json.RawMessage
	if err := json.Unmarshal(read("rpc-index.json"), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 {
		t.Fatalf("%d sessions, not the plain and the packed one", len(rows))
	}
	sessions := make([]goldenSession, len(rows))
	for i, name := range []string{"rpc-view", "rpc-view-packed"} {
		s := &sessions[i]
		err := errors.Join(
			json.Unmarshal(rows[i]["iter all, in order"], &s.All),
			json.Unmarshal(rows[i]["iter meta zone=z1, records"], &s.Zone),
			json.Unmarshal(rows[i]["lookup meta role=worker"], &s.Lookup),
		)
		if err != nil {
			t.Fatal(err)
		}
		s.name, s.decoder, s.rpc = name, capnp.NewDecoder, rpc.NewStreamTransport
		if i == 1 {
			s.decoder, s.rpc = capnp.NewPackedDecoder, rpc.NewPackedStreamTransport
		}
		s.toServer, s.toClient = read(name+"-to-server.bin"), read(name+"-to-client.bin")
	}
	return sessions
}

func (g goldenRecord) record(t *testing.T) table.Record {
	t.Helper()
	id, err := peer.Decode(g.Peer)
	if err != nil {
		t.Fatal(err)
	}
	seq, err1 := strconv.ParseUint(g.Seq, 10, 64)
	server, err2 := strconv.ParseUint(g.Server, 16, 64)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return table.Record{Peer: id, Seq: seq, Heartbeat: wire.Heartbeat{
		TTL: time.Duration(g.TTL) * time.Millisecond, Server: server, Host: g.Host, Meta: g.Meta,
	}}
}

// said is what an RPC session's messages told.
type said struct {
	queries  []table.Query
	received []table.Record
	looked   []table.Record
}

// decodeSession reads the messages of one direction.
func decodeSession(data []byte, s goldenSession) (said said, err error) {
	decoder := s.decoder(bytes.NewReader(data))
	for {
		message, err := decoder.Decode()
		if errors.Is(err, io.EOF) {
			return said, nil
		}
		if err != nil {
			return said, err
		}
		root, err := rpccp.ReadRootMessage(message)
		if err != nil {
			return said, err
		}
		switch root.Which() {
		case rpccp.Message_Which_call:
			call, err := root.Call()
			if err == nil {
				err = said.call(call)
			}
			if err != nil {
				return said, err
			}
		case rpccp.Message_Which_return:
			answer, err := root.Return()
			if err == nil {
				err = said.answer(answer)
			}
			if err != nil {
				return said, err
			}
		}
	}
}

func (s *said) call(call rpccp.Call) error {
	payload, err := call.Params()
	if err != nil {
		return err
	}
	content, err := payload.Content()
	if err != nil {
		return err
	}
	switch method := [2]uint64{call.InterfaceId(), uint64(call.MethodId())}; method {
	case [2]uint64{cluster.View_TypeID, 0}:
		p := cluster.View_lookup_Params(content.Struct())
		return s.query(p.Selector, p.Constraints)
	case [2]uint64{cluster.View_TypeID, 1}:
		p := cluster.View_iter_Params(content.Struct())
		return s.query(p.Selector, p.Constraints)
	case [2]uint64{cluster.View_Handler_TypeID, 0}:
		from, err := cluster.View_Handler_recv_Params(content.Struct()).Record()
		if err != nil {
			return err
		}
		record, err := readRecord(from)
		s.received = append(s.received, record)
		return err
	default:
		return fmt.Errorf("call of unknown method %x", method)
	}
}

func (s *said) query(
	selector func() (cluster.View_Selector, error),
	constraints func() (cluster.View_Constraint_List, error),
) error {
	chosen, err1 := selector()
	limits, err2 := constraints()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	q, err := readQuery(chosen, limits)
	s.queries = append(s.queries, q)
	return err
}

// answer takes the record out of a lookup's answer, the only one that has a
// struct with a pointer to a record.
func (s *said) answer(answer rpccp.Return) error {
	if answer.Which() != rpccp.Return_Which_results {
		return nil
	}
	payload, err := answer.Results()
	if err != nil {
		return err
	}
	content, err := payload.Content()
	if err != nil || !content.Struct().IsValid() || !content.Struct().HasPtr(0) {
		return err
	}
	maybe, err := cluster.View_lookup_Results(content.Struct()).Result()
	if err != nil || maybe.Which() != cluster.View_MaybeRecord_Which_just {
		return err
	}
	just, err := maybe.Just()
	if err != nil {
		return err
	}
	record, err := readRecord(just)
	s.looked = append(s.looked, record)
	return err
}

// checkAnswers compares what a server said with the golden index.
func (g goldenSession) checkAnswers(t *testing.T, said said) {
	t.Helper()
	var want []table.Record
	for _, r := range g.All {
		want = append(want, r.record(t))
	}
	if n := len(want) + g.Zone; len(said.received) != n {
		t.Fatalf("%s: %d records were sent, not %d", g.name, len(said.received), n)
	}
	for i, r := range want {
		if fmt.Sprint(said.received[i]) != fmt.Sprint(r) {
			t.Errorf("%s: record %d is %v, not %v", g.name, i, said.received[i], r)
		}
	}
	for _, r := range said.received[len(want):] {
		if r.Meta[1] != "zone=z1" {
			t.Errorf("%s: %v matches zone=z1", g.name, r)
		}
	}
	if len(said.looked) != 1 || said.looked[0].Peer.String() != g.Lookup.Peer {
		t.Errorf("%s: lookup gave %v, not %v", g.name, said.looked, g.Lookup)
	}
}

func TestGoldenSessionsMeanWhatTheIndexSays(t *testing.T) {
	for _, s := range loadSessions(t) {
		asked, err := decodeSession(s.toServer, s)
		if err != nil {
			t.Fatal(err)
		}
		var queries []string
		for _, q := range asked.queries {
			if q.Match == nil {
				queries = append(queries, "all")
			} else {
				queries = append(queries, fmt.Sprintf("%s %s", q.Match.Field, q.Match.Value))
			}
		}
		if got := fmt.Sprint(queries); got != "[meta role=worker all meta zone=z1]" {
			t.Errorf("%s: the queries are %s", s.name, got)
		}
		answered, err := decodeSession(s.toClient, s)
		if err != nil {
			t.Fatal(err)
		}
		s.checkAnswers(t, answered)
	}
}

// A recorded client talks to our server: each of its messages is sent when what
// it answers has been asked, with the number under which our server asked.
func TestOurServerAnswersTheGoldenClients(t *testing.T) {
	for _, s := range loadSessions(t) {
		var records []table.Record
		for _, r := range s.All {
			records = append(records, r.record(t))
		}
		server := &viewServer{records: func() []table.Record { return records }}
		ours, theirs := net.Pipe()
		conn := rpc.NewConn(s.rpc(ours), &rpc.Options{
			BootstrapClient: capnp.Client(cluster.View_ServerToClient(server)),
		})
		answers := replay(t, s, theirs)
		s.checkAnswers(t, answers)
		_ = theirs.Close()
		<-conn.Done()
	}
}

// replay plays the recorded client's side, and gives what the server said.
func replay(t *testing.T, s goldenSession, stream net.Conn) said {
	t.Helper()
	_ = stream.SetDeadline(time.Now().Add(20 * time.Second))
	var answers said
	var asked []uint32
	returned := map[uint32]bool{}
	heard := s.decoder(stream)
	// until reads the server's messages until a condition holds.
	until := func(holds func() bool) {
		for !holds() {
			message, err := heard.Decode()
			if err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			root, err := rpccp.ReadRootMessage(message)
			if err != nil {
				t.Fatal(err)
			}
			switch root.Which() {
			case rpccp.Message_Which_call:
				call, _ := root.Call()
				asked = append(asked, call.QuestionId())
				err = answers.call(call)
			case rpccp.Message_Which_return:
				answer, _ := root.Return()
				returned[answer.AnswerId()] = true
				err = answers.answer(answer)
			case rpccp.Message_Which_abort:
				reason, _ := root.Abort()
				text, _ := reason.Reason()
				t.Fatalf("%s: the server aborts: %s", s.name, text)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	recorded := capnp.NewDecoder(bytes.NewReader(s.toServer))
	encoder := capnp.NewEncoder(stream)
	if s.name == "rpc-view-packed" {
		recorded = capnp.NewPackedDecoder(bytes.NewReader(s.toServer))
		encoder = capnp.NewPackedEncoder(stream)
	}
	for {
		message, err := recorded.Decode()
		if errors.Is(err, io.EOF) {
			return answers
		}
		if err != nil {
			t.Fatal(err)
		}
		root, err := rpccp.ReadRootMessage(message)
		if err != nil {
			t.Fatal(err)
		}
		switch root.Which() {
		case rpccp.Message_Which_return:
			answer, _ := root.Return()
			until(func() bool { return len(asked) > 0 })
			answer.SetAnswerId(asked[0])
			asked = asked[1:]
		case rpccp.Message_Which_finish:
			finish, _ := root.Finish()
			until(func() bool { return returned[finish.QuestionId()] })
			delete(returned, finish.QuestionId())
		}
		if err := encoder.Encode(message); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
	}
}
