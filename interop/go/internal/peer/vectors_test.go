package peer

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"capnproto.org/go/capnp/v3"
	"github.com/pierrec/lz4/v4"

	"github.com/wetware/casm/interop/go/internal/schema/cluster"
	"github.com/wetware/casm/interop/go/internal/table"
)

type hexText []byte

func (h *hexText) UnmarshalText(text []byte) error {
	*h = make([]byte, hex.DecodedLen(len(text)))
	_, err := hex.Decode(*h, text)
	return err
}

type vectorIndex struct{ Field, Key string }

func (i *vectorIndex) index(prefix bool) *table.Index {
	if i == nil {
		return nil
	}
	return &table.Index{Field: table.Field(i.Field), Value: i.Key, Prefix: prefix}
}

type vectorStream struct {
	Messages []struct {
		Name string
		Hex  hexText
	}
	Encodings []struct {
		Protocol string
		Chunks   []hexText
		End      hexText
	}
}

type rpcVectors struct {
	Interfaces []struct{ Name, ID string }
	Queries    []struct {
		Select string
		Index  *vectorIndex
		Prefix bool
		To     *vectorIndex
		Limit  uint64
		Hex    hexText
	}
	Records []struct {
		goldenRecord
		Hex hexText
	}
	ToServer vectorStream `json:"to_server"`
	ToClient vectorStream `json:"to_client"`
}

// loadVectors reads the test vectors that the Rust code made.
func loadVectors(t *testing.T) (v rpcVectors) {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/spec/vectors/rpc.json")
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Interfaces) == 0 || len(v.Queries) == 0 || len(v.Records) == 0 ||
		len(v.ToServer.Encodings) != 4 || len(v.ToClient.Encodings) != 4 {
		t.Fatal("vectors are missing")
	}
	return v
}

func TestVectorsOfInterfaces(t *testing.T) {
	ours := map[string]uint64{"View": cluster.View_TypeID, "View.Handler": cluster.View_Handler_TypeID}
	for _, row := range loadVectors(t).Interfaces {
		if id := fmt.Sprintf("%016x", ours[row.Name]); id != row.ID {
			t.Errorf("%s has the id %s, not %s", row.Name, id, row.ID)
		}
	}
}

func TestVectorsOfQueries(t *testing.T) {
	for _, row := range loadVectors(t).Queries {
		want := table.Query{To: row.To.index(false), Limit: row.Limit}
		switch row.Select {
		case "match":
			want.Match = row.Index.index(row.Prefix)
		case "from":
			want.From = row.Index.index(false)
		}
		message, err := capnp.Unmarshal(row.Hex)
		if err != nil {
			t.Fatal(err)
		}
		root, err := message.Root()
		if err != nil {
			t.Fatal(err)
		}
		params := cluster.View_lookup_Params(root.Struct())
		var read said
		if err := read.query(params.Selector, params.Constraints); err != nil {
			t.Fatal(err)
		}
		if got := read.queries[0]; shown(got) != shown(want) {
			t.Errorf("read %s, not %s", shown(got), shown(want))
		}

		// What we write is read as the same.
		_, segment := capnp.NewSingleSegmentMessage(nil)
		written, err := cluster.NewView_lookup_Params(segment)
		if err == nil {
			err = writeQuery(want, written.NewSelector, written.NewConstraints)
		}
		if err == nil {
			err = read.query(written.Selector, written.Constraints)
		}
		if err != nil || shown(read.queries[1]) != shown(want) {
			t.Errorf("wrote %s for %s: %v", shown(read.queries[1]), shown(want), err)
		}
	}
}

func shown(q table.Query) string {
	text, err := json.Marshal(q)
	return fmt.Sprint(string(text), err)
}

func TestVectorsOfRecordsInMessages(t *testing.T) {
	for _, row := range loadVectors(t).Records {
		message, err := capnp.Unmarshal(row.Hex)
		if err != nil {
			t.Fatal(err)
		}
		root, err := message.Root()
		if err != nil {
			t.Fatal(err)
		}
		from, err := cluster.View_Handler_recv_Params(root.Struct()).Record()
		if err != nil {
			t.Fatal(err)
		}
		record, err := readRecord(from)
		if want := row.record(t); err != nil || fmt.Sprint(record) != fmt.Sprint(want) {
			t.Errorf("read %v, not %v: %v", record, want, err)
		}
	}
}

func TestVectorsOfStreams(t *testing.T) {
	v := loadVectors(t)
	for _, stream := range []vectorStream{v.ToServer, v.ToClient} {
		for _, encoding := range stream.Encodings {
			var sent []byte
			for i, chunk := range encoding.Chunks {
				sent = append(sent, chunk...)
				// Each message can be read without a later byte.
				decoder := streamDecoder(encoding.Protocol, sent)
				for _, want := range stream.Messages[:i+1] {
					message, err := decoder.Decode()
					if err != nil {
						t.Fatalf("%s: %s: %v", encoding.Protocol, want.Name, err)
					}
					got, err := message.Marshal()
					if err != nil || !bytes.Equal(got, want.Hex) {
						t.Errorf("%s: %s: read\n%x, not\n%x", encoding.Protocol, want.Name, got, want.Hex)
					}
				}
			}
			decoder := streamDecoder(encoding.Protocol, append(sent, encoding.End...))
			for range stream.Messages {
				if _, err := decoder.Decode(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := decoder.Decode(); err != io.EOF {
				t.Errorf("%s: the stream ends with %v", encoding.Protocol, err)
			}
		}
	}
}

func streamDecoder(protocol string, sent []byte) *capnp.Decoder {
	var reader io.Reader = bytes.NewReader(sent)
	if strings.HasSuffix(protocol, "/lz4") {
		reader = iotest.OneByteReader(lz4.NewReader(reader))
	}
	if strings.Contains(protocol, "/packed") {
		return capnp.NewPackedDecoder(reader)
	}
	return capnp.NewDecoder(reader)
}
