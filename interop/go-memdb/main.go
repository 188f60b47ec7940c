// A table of hashicorp/go-memdb with the indexes of CASM's cluster table,
// measured as CASM's own `bench table` measures that: one JSON line with the
// same keys.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-memdb"
)

// record has the fields of CASM's records, with the signed message beside them.
type record struct {
	Peer   string
	Server string
	Seq    uint64
	TTL    time.Duration
	Host   string
	Meta   []string
	Signed []byte
}

type report struct {
	Bench              string  `json:"bench"`
	Impl               string  `json:"impl"`
	Records            int     `json:"records"`
	ExactLookupNs      float64 `json:"exact_lookup_ns"`
	PeerLookupNs       float64 `json:"peer_lookup_ns"`
	Prefix100Ns        float64 `json:"prefix_100_ns"`
	IterateNsPerRecord float64 `json:"iterate_ns_per_record"`
	IterateHostsNsPer  float64 `json:"iterate_hosts_ns_per_record"`
	InsertNs           float64 `json:"insert_ns"`
	InsertWithViewNs   float64 `json:"insert_with_view_ns"`
	InsertInOneBatchNs float64 `json:"insert_in_one_batch_ns"`
	RenewNs            float64 `json:"renew_ns"`
	SnapshotNs         float64 `json:"snapshot_ns"`
	BytesPerRecord     float64 `json:"bytes_per_record"`
}

const table = "records"

// metaIndex has one value per meta field.
type metaIndex struct{}

func (metaIndex) FromObject(obj any) (bool, [][]byte, error) {
	fields := obj.(*record).Meta
	values := make([][]byte, len(fields))
	for i, field := range fields {
		values[i] = []byte(field + "\x00")
	}
	return len(values) > 0, values, nil
}

func (metaIndex) FromArgs(args ...any) ([]byte, error) {
	return []byte(args[0].(string) + "\x00"), nil
}

func (metaIndex) PrefixFromArgs(args ...any) ([]byte, error) {
	return []byte(args[0].(string)), nil
}

func newDB() *memdb.MemDB {
	text := func(field string) *memdb.StringFieldIndex { return &memdb.StringFieldIndex{Field: field} }
	db, err := memdb.NewMemDB(&memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		table: {
			Name: table,
			Indexes: map[string]*memdb.IndexSchema{
				"id":     {Name: "id", Unique: true, Indexer: text("Peer")},
				"server": {Name: "server", Indexer: text("Server")},
				"host":   {Name: "host", Indexer: text("Host")},
				"meta":   {Name: "meta", AllowMissing: true, Indexer: metaIndex{}},
			},
		},
	}})
	check(err)
	return db
}

func main() {
	n := flag.Int("records", 100_000, "records in the table")
	flag.Bool("json", true, "print one JSON line (always)")
	flag.Parse()
	records := make([]*record, *n)
	for i := range records {
		records[i] = newRecord(i, 0)
	}
	order := rand.New(rand.NewSource(1)).Perm(*n)
	out := report{Bench: "table", Impl: "go-memdb", Records: *n}

	before := heap()
	db := newDB()
	start := onCPU()
	for k, i := range order {
		insert(db, copyOf(records[i], uint64(k)))
	}
	out.InsertNs = per(start, *n)
	out.BytesPerRecord = float64(heap()-before) / float64(*n)

	second := newDB()
	tenth := *n / 10
	txn := second.Txn(true)
	start = onCPU()
	for k, i := range order[:*n-tenth] {
		check(txn.Insert(table, copyOf(records[i], uint64(k))))
	}
	txn.Commit()
	out.InsertInOneBatchNs = per(start, *n-tenth)
	start = onCPU()
	for k, i := range order[*n-tenth:] {
		view := second.Txn(false)
		insert(second, copyOf(records[i], uint64(*n+k)))
		runtime.KeepAlive(view)
	}
	out.InsertWithViewNs = per(start, tenth)
	second = nil

	start = onCPU()
	for k, i := range order {
		insert(db, copyOf(records[i], uint64(*n+k)))
	}
	out.RenewNs = per(start, *n)
	runtime.GC()

	view := db.Txn(false)
	out.ExactLookupNs = each(order, func(i int) {
		found, err := view.First(table, "host", records[i].Host)
		check(err)
		ensure(found != nil)
	})
	out.PeerLookupNs = each(order, func(i int) {
		found, err := view.First(table, "id", records[i].Peer)
		check(err)
		ensure(found != nil)
	})
	some := order[:min(*n, 20_000)]
	sum := uint64(0)
	out.Prefix100Ns = each(some, func(i int) {
		// A hundred hosts begin alike.
		hits, err := view.Get(table, "host_prefix", records[i].Host[:len(records[i].Host)-2])
		check(err)
		count := 0
		for hit := hits.Next(); hit != nil; hit = hits.Next() {
			sum += hit.(*record).Seq & 1
			count++
		}
		ensure(count == 100)
	})
	iterations := 10
	iterate := func(index string) float64 {
		start := onCPU()
		for range iterations {
			hits, err := view.Get(table, index)
			check(err)
			count := 0
			for hit := hits.Next(); hit != nil; hit = hits.Next() {
				sum += hit.(*record).Seq & 1
				count++
			}
			ensure(count == *n)
		}
		return per(start, iterations**n)
	}
	out.IterateNsPerRecord = iterate("id")
	out.IterateHostsNsPer = iterate("host")
	snapshots := 1_000_000
	var held *memdb.Txn
	start = onCPU()
	for range snapshots {
		held = db.Txn(false)
	}
	out.SnapshotNs = per(start, snapshots)
	runtime.KeepAlive(held)
	runtime.KeepAlive(sum)
	check(json.NewEncoder(os.Stdout).Encode(out))
}

func insert(db *memdb.MemDB, r *record) {
	txn := db.Txn(true)
	check(txn.Insert(table, r))
	txn.Commit()
}

// newRecord makes the i-th record; its peer has the look of a peer id.
func newRecord(i int, seq uint64) *record {
	const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	source := rand.New(rand.NewSource(int64(i)))
	var peer strings.Builder
	peer.WriteString("12D3KooW")
	for range 44 {
		peer.WriteByte(base58[source.Intn(len(base58))])
	}
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], source.Uint64())
	return &record{
		Peer:   peer.String(),
		Server: fmt.Sprintf("%x", number),
		Seq:    seq,
		TTL:    24 * time.Hour,
		Host:   fmt.Sprintf("node-%07d", i),
		Meta: []string{
			"role=role-" + strconv.Itoa(i%10),
			"zone=zone-" + strconv.Itoa(i%1000),
			"rack=rack-" + strconv.Itoa(i/20),
			fmt.Sprintf("version=1.%d.%d", i%7, i%100),
			fmt.Sprintf("address=10.%d.%d.%d", i>>16, (i>>8)&255, i&255),
		},
	}
}

// copyOf is what a decoder would have made of the next heartbeat.
func copyOf(r *record, seq uint64) *record {
	next := *r
	next.Seq = seq
	next.Meta = append([]string(nil), r.Meta...)
	next.Signed = bytes.Repeat([]byte{7}, 330)
	return &next
}

func each(order []int, run func(int)) float64 {
	for _, i := range order[:min(len(order), 1000)] {
		run(i)
	}
	start := onCPU()
	for _, i := range order {
		run(i)
	}
	return per(start, len(order))
}

func per(start time.Duration, n int) float64 {
	return float64(int(float64(onCPU()-start)/float64(n)*10)) / 10
}

// onCPU is the time that this process has computed, its garbage collector's
// included, so that other work on the machine blurs no figure.
func onCPU() time.Duration {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func ensure(ok bool) {
	if !ok {
		panic("the table does not hold what was put in")
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
