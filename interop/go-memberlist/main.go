// A cluster of hashicorp/memberlist nodes in one process, measured as CASM's
// own `bench cluster` measures its nodes: one JSON line with the same keys.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// counter is the delegate of every node: it counts what they report.
type counter struct {
	leaves, probes atomic.Int64
}

func (c *counter) NotifyJoin(*memberlist.Node)   {}
func (c *counter) NotifyUpdate(*memberlist.Node) {}
func (c *counter) NotifyLeave(*memberlist.Node)  { c.leaves.Add(1) }
func (c *counter) AckPayload() []byte            { return nil }
func (c *counter) NotifyPingComplete(*memberlist.Node, time.Duration, []byte) {
	c.probes.Add(1)
}

type report struct {
	Bench           string  `json:"bench"`
	Impl            string  `json:"impl"`
	Nodes           int     `json:"nodes"`
	Degree          int     `json:"degree,omitempty"`
	Hubs            int     `json:"hubs,omitempty"`
	Seconds         float64 `json:"seconds"`
	Seed            int64   `json:"seed"`
	ConnectS        float64 `json:"connect_s"`
	FullViewS       float64 `json:"full_view_s"`
	FullViewCPUS    float64 `json:"full_view_cpu_s"`
	CPUCores        float64 `json:"cpu_cores"`
	RSSBytesPerNode int64   `json:"rss_bytes_per_node"`
	MissingPerView  float64 `json:"missing_per_view"`
	FalseDrops      int64   `json:"false_drops"`
	// memberlist has no heartbeats; what it has instead is acknowledged probes.
	HeartbeatsPerS float64 `json:"heartbeats_per_s"`
}

func main() {
	nodes := flag.Int("nodes", 100, "nodes in this process")
	degree := flag.Int("degree", 4, "earlier nodes that each node joins")
	hubs := flag.Int("hubs", 0, "join so many first nodes, the same for all, instead of random earlier ones")
	seconds := flag.Float64("seconds", 20, "how long the full cluster is measured")
	fullWithin := flag.Duration("full-within", 2*time.Minute, "give up when views are not full by then")
	seed := flag.Int64("seed", 1, "seed of the choice of earlier nodes")
	flag.Parse()
	if *nodes < 1 || *degree < 1 || *hubs < 0 || *seconds <= 0 {
		fmt.Fprintln(os.Stderr, "nodes, degree and seconds must be positive")
		os.Exit(2)
	}
	result, err := measure(*nodes, *degree, *hubs, *seconds, *fullWithin, *seed)
	if err != nil {
		fmt.Fprintln(os.Stderr, "memberlist:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		os.Exit(1)
	}
}

func measure(n, degree, hubs int, seconds float64, fullWithin time.Duration, seed int64) (*report, error) {
	empty, err := residentBytes()
	if err != nil {
		return nil, err
	}
	count := &counter{}
	cluster := make([]*memberlist.Memberlist, 0, n)
	for i := range n {
		node, err := start(i, count)
		if err != nil {
			return nil, err
		}
		defer node.Shutdown()
		cluster = append(cluster, node)
	}

	random := rand.New(rand.NewSource(seed))
	began, startedWith := time.Now(), cpuSeconds()
	for i, node := range cluster {
		if i == 0 {
			continue
		}
		// All of its own at once, as CASM's nodes do.
		var group sync.WaitGroup
		chosen := random.Perm(i)[:min(degree, i)]
		if hubs > 0 {
			chosen = make([]int, min(hubs, i))
			for k := range chosen {
				chosen[k] = k
			}
		}
		errs := make([]error, len(chosen))
		for k, j := range chosen {
			group.Add(1)
			go func() {
				defer group.Done()
				_, errs[k] = node.Join([]string{cluster[j].LocalNode().Address()})
			}()
		}
		group.Wait()
		if err := errors.Join(errs...); err != nil {
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
	}
	connected := time.Since(began)
	for missing(cluster) > 0 {
		if time.Since(began) > fullWithin {
			return nil, fmt.Errorf("after %v still %.2f records are missing per view", fullWithin, missing(cluster))
		}
		time.Sleep(10 * time.Millisecond)
	}
	full, fullCPU := time.Since(began), cpuSeconds()-startedWith
	if hubs > 0 {
		degree = 0
	}

	count.leaves.Store(0)
	count.probes.Store(0)
	cpu, from := cpuSeconds(), time.Now()
	var sum float64
	samples := 0
	for time.Since(from).Seconds() < seconds {
		time.Sleep(500 * time.Millisecond)
		sum += missing(cluster)
		samples++
	}
	elapsed := time.Since(from).Seconds()
	used := cpuSeconds() - cpu
	resident, err := residentBytes()
	if err != nil {
		return nil, err
	}
	return &report{
		Bench: "cluster", Impl: "hashicorp/memberlist", Nodes: n, Degree: degree, Hubs: hubs,
		Seconds: elapsed, Seed: seed,
		ConnectS: connected.Seconds(), FullViewS: full.Seconds(), FullViewCPUS: fullCPU, CPUCores: used / elapsed,
		RSSBytesPerNode: (resident - empty) / int64(n), MissingPerView: sum / float64(samples),
		FalseDrops: count.leaves.Load(), HeartbeatsPerS: float64(count.probes.Load()) / elapsed,
	}, nil
}

// start makes a node on 127.0.0.1, at a port that the system chooses, with
// encryption on.
func start(i int, count *counter) (*memberlist.Memberlist, error) {
	key := sha256.Sum256([]byte("bench cluster"))
	config := memberlist.DefaultLANConfig()
	config.Name = "node-" + strconv.Itoa(i)
	config.BindAddr, config.BindPort = "127.0.0.1", 0
	config.AdvertiseAddr = "127.0.0.1"
	config.SecretKey = key[:]
	config.Events, config.Ping = count, count
	config.Logger = log.New(io.Discard, "", 0)
	return memberlist.Create(config)
}

// missing is how many members a node does not see, in the mean.
func missing(cluster []*memberlist.Memberlist) float64 {
	sum := 0
	for _, node := range cluster {
		sum += len(cluster) - node.NumMembers()
	}
	return float64(sum) / float64(len(cluster))
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func residentBytes() (int64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/self/statm: %q", text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
