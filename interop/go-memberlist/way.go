package main

import (
	"math"
	"math/rand"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// pause is the time from one change to the next.
const pause = 250 * time.Millisecond

// member is a node, and the delegate that gives it metadata: the number of its
// last change, if there was one.
type member struct {
	*memberlist.Memberlist
	meta atomic.Value
}

func (m *member) NodeMeta(int) []byte {
	meta, _ := m.meta.Load().([]byte)
	return meta
}

func (m *member) NotifyMsg([]byte)                {}
func (m *member) GetBroadcasts(int, int) [][]byte { return nil }
func (m *member) LocalState(bool) []byte          { return nil }
func (m *member) MergeRemoteState([]byte, bool)   {}

// ways takes note of how long changes of metadata are under way.
type ways struct {
	lock    sync.Mutex
	changes []change
}

type change struct {
	made time.Time
	ways []time.Duration
}

type wayReport struct {
	Changes       int     `json:"changes"`
	WayMissing    int     `json:"way_missing"`
	WayP50MS      float64 `json:"way_p50_ms,omitempty"`
	WayP99MS      float64 `json:"way_p99_ms,omitempty"`
	WayMaxMS      float64 `json:"way_max_ms,omitempty"`
	WayToAllP50MS float64 `json:"way_to_all_p50_ms,omitempty"`
	WayToAllP99MS float64 `json:"way_to_all_p99_ms,omitempty"`
}

func (w *ways) updated(meta []byte) {
	now := time.Now()
	number, err := strconv.Atoi(string(meta))
	if err != nil {
		return
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	if number < len(w.changes) {
		c := &w.changes[number]
		c.ways = append(c.ways, now.Sub(c.made))
	}
}

func (w *ways) arrived() int {
	w.lock.Lock()
	defer w.lock.Unlock()
	sum := 0
	for _, c := range w.changes {
		sum += len(c.ways)
	}
	return sum
}

// measure makes changes, and waits until all other nodes have them or ten
// seconds have passed. A node is told of its own change too, at once.
func (w *ways) measure(cluster []*member, o options) *wayReport {
	order := rand.New(rand.NewSource(o.seed)).Perm(len(cluster))
	for number := range o.changes {
		node := cluster[order[number%len(order)]]
		w.lock.Lock()
		w.changes = append(w.changes, change{made: time.Now()})
		w.lock.Unlock()
		node.meta.Store([]byte(strconv.Itoa(number)))
		// It waits until the change is sent, which is on its way meanwhile.
		go node.UpdateNode(10 * time.Second)
		time.Sleep(pause)
	}
	all := o.changes * len(cluster)
	for until := time.Now().Add(10 * time.Second); w.arrived() < all && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	var each, toAll []time.Duration
	for _, c := range w.changes {
		slices.Sort(c.ways)
		// The first is the node itself.
		others := c.ways[min(1, len(c.ways)):]
		each = append(each, others...)
		if len(others) == len(cluster)-1 {
			toAll = append(toAll, others[len(others)-1])
		}
	}
	slices.Sort(each)
	slices.Sort(toAll)
	return &wayReport{
		Changes:    o.changes,
		WayMissing: o.changes*(len(cluster)-1) - len(each),
		WayP50MS:   percentile(each, 50), WayP99MS: percentile(each, 99), WayMaxMS: percentile(each, 100),
		WayToAllP50MS: percentile(toAll, 50), WayToAllP99MS: percentile(toAll, 99),
	}
}

// percentile is in milliseconds, by the nearest rank.
func percentile(sorted []time.Duration, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := max((len(sorted)*percent+99)/100-1, 0)
	return math.Round(sorted[at].Seconds()*1e5) / 100
}
