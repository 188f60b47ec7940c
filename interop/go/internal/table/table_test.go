package table

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/wetware/casm/interop/go/internal/wire"
)

func record(n byte, seq uint64, host string, meta ...string) Record {
	return Record{
		Peer: peer.ID([]byte{0, 1, n}), Seq: seq,
		Heartbeat: wire.Heartbeat{TTL: time.Second, Server: uint64(n), Host: host, Meta: meta},
	}
}

func TestTheHigherSequenceNumberCounts(t *testing.T) {
	now := time.Unix(0, 0)
	table := New()
	for i, step := range []struct {
		Record
		want Change
	}{
		{record(1, 5, "a"), Joined},
		{record(1, 5, "b"), Stale},
		{record(1, 4, "b"), Stale},
		{record(1, 6, "a"), Renewed},
		{record(1, 7, "b"), Updated},
	} {
		if got := table.Upsert(step.Record, now); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
	if gone := table.Expire(now.Add(time.Second)); len(gone) != 0 {
		t.Errorf("gone at the deadline: %v", gone)
	}
	if gone := table.Expire(now.Add(time.Second + 1)); len(gone) != 1 || gone[0].Host != "b" {
		t.Errorf("gone after the deadline: %v", gone)
	}
}

func TestSelect(t *testing.T) {
	records := []Record{
		record(1, 1, "foo", "role=a", "zone=1"),
		record(2, 1, "foobar", "role=b", "zone=2"),
		record(3, 1, "bar", "role=ab", "role=ac"),
	}
	host := func(v string) *Index { return &Index{Field: Host, Value: v} }
	meta := func(v string, prefix bool) *Index { return &Index{Field: Meta, Value: v, Prefix: prefix} }
	for _, c := range []struct {
		Query
		want string
	}{
		{Query{}, "[1 2 3]"},
		{Query{Reverse: true}, "[3 2 1]"},
		{Query{Limit: 2}, "[1 2]"},
		{Query{Match: host("foo")}, "[1]"},
		{Query{Match: &Index{Field: Host, Value: "foo", Prefix: true}}, "[1 2]"},
		{Query{Match: meta("role=a", true)}, "[1 3]"},
		{Query{Match: meta("role=a", true), Reverse: true}, "[3 1]"},
		{Query{From: host("f")}, "[1 2]"},
		{Query{From: host("foo"), To: host("foo")}, "[1]"},
		{Query{To: host("foo")}, "[3 1]"},
		{Query{From: host("foo"), Reverse: true}, "[1 3]"},
		{Query{From: host("foobar"), To: host("foo"), Reverse: true}, "[2 1]"},
		{Query{Match: &Index{Field: Server, Value: "0000000000000002"}}, "[2]"},
		{Query{Match: meta("absent=", true)}, "[]"},
	} {
		selected, err := Select(records, c.Query)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for _, r := range selected {
			got = append(got, r.Server)
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%+v: got %v, want %s", c.Query, got, c.want)
		}
	}
	if _, err := Select(records, Query{From: host("a"), To: meta("b=", false)}); err == nil {
		t.Error("a range over two indexes is accepted")
	}
}
