// Package table holds what a node knows of the members of its cluster. It has
// no clock of its own: the caller passes the time.
package table

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/wetware/casm/interop/go/internal/wire"
)

// Record is the newest heartbeat of a peer.
type Record struct {
	Peer peer.ID
	Seq  uint64
	wire.Heartbeat
}

// Change says what a heartbeat did to the table.
type Change int

// What a heartbeat can do.
const (
	// Stale: a newer one is known.
	Stale Change = iota
	// Joined: the peer was not there before.
	Joined
	// Updated: the peer says something new.
	Updated
	// Renewed: the peer says the same again.
	Renewed
)

type row struct {
	Record
	deadline time.Time
}

// Table has one row per peer: of two heartbeats the higher sequence number
// counts.
type Table struct{ rows map[peer.ID]row }

// New makes an empty table.
func New() *Table { return &Table{rows: make(map[peer.ID]row)} }

// Upsert takes in a heartbeat.
func (t *Table) Upsert(r Record, now time.Time) Change {
	old, known := t.rows[r.Peer]
	if known && old.Seq >= r.Seq {
		return Stale
	}
	t.rows[r.Peer] = row{r, now.Add(r.TTL)}
	switch {
	case !known:
		return Joined
	case r.TTL != old.TTL || r.Server != old.Server || r.Host != old.Host ||
		!slices.Equal(r.Meta, old.Meta):
		return Updated
	}
	return Renewed
}

// Expire takes out the records whose time has passed.
func (t *Table) Expire(now time.Time) (gone []Record) {
	for id, r := range t.rows {
		if now.After(r.deadline) {
			delete(t.rows, id)
			gone = append(gone, r.Record)
		}
	}
	return gone
}

// Records gives all records.
func (t *Table) Records() []Record {
	records := make([]Record, 0, len(t.rows))
	for _, r := range t.rows {
		records = append(records, r.Record)
	}
	return records
}

// Field is what an index is over.
type Field string

// The indexes.
const (
	Peer   Field = "peer"
	Server Field = "server"
	Host   Field = "host"
	Meta   Field = "meta"
)

// Index is a place in an index.
type Index struct {
	Field  Field
	Value  string
	Prefix bool
}

// Query selects records. The zero value selects all, in the order of peers.
type Query struct {
	// Match, or From, or neither.
	Match, From, To *Index
	Limit           uint64
	Reverse         bool
}

// Select gives the records that a query selects, in the order of its index. A
// record that matches by several meta fields comes once.
func Select(records []Record, q Query) ([]Record, error) {
	field, keep, err := q.plan()
	if err != nil {
		return nil, err
	}
	type entry struct {
		key string
		Record
	}
	var entries []entry
	for _, r := range records {
		for _, key := range keys(r, field) {
			if keep(key) {
				entries = append(entries, entry{key, r})
			}
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if c := strings.Compare(a.key, b.key); c != 0 {
			return c
		}
		return strings.Compare(a.Peer.String(), b.Peer.String())
	})
	if q.Reverse {
		slices.Reverse(entries)
	}
	var selected []Record
	seen := make(map[peer.ID]bool)
	for _, e := range entries {
		if q.Limit > 0 && uint64(len(selected)) == q.Limit {
			break
		}
		if !seen[e.Peer] {
			seen[e.Peer] = true
			selected = append(selected, e.Record)
		}
	}
	return selected, nil
}

// plan gives the index that a query walks, and which of its keys are in.
func (q Query) plan() (Field, func(string) bool, error) {
	field := Peer
	for _, index := range []*Index{q.Match, q.From, q.To} {
		if index != nil {
			field = index.Field
			break
		}
	}
	if q.To != nil && q.To.Field != field {
		return "", nil, fmt.Errorf("a range from %s to %s has no order", field, q.To.Field)
	}
	if !slices.Contains([]Field{Peer, Server, Host, Meta}, field) {
		return "", nil, fmt.Errorf("there is no index %q", field)
	}
	// A reversed walk starts at `from` too, and goes the other way.
	low, high := q.From, q.To
	if q.Reverse {
		low, high = high, low
	}
	return field, func(key string) bool {
		switch {
		case q.Match != nil && q.Match.Prefix && !strings.HasPrefix(key, q.Match.Value):
			return false
		case q.Match != nil && !q.Match.Prefix && key != q.Match.Value:
			return false
		case low != nil && key < low.Value:
			return false
		case high != nil && key > high.Value && !(high.Prefix && strings.HasPrefix(key, high.Value)):
			return false
		}
		return true
	}, nil
}

func keys(r Record, field Field) []string {
	switch field {
	case Server:
		return []string{fmt.Sprintf("%016x", r.Server)}
	case Host:
		return []string{r.Host}
	case Meta:
		return r.Meta
	}
	return []string{r.Peer.String()}
}
