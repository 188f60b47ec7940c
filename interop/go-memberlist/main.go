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
	"os/exec"
	"slices"
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
	ways           ways
	gone           gone
}

func (c *counter) NotifyJoin(*memberlist.Node)           {}
func (c *counter) NotifyUpdate(updated *memberlist.Node) { c.ways.updated(updated.Meta) }
func (c *counter) NotifyLeave(left *memberlist.Node) {
	c.leaves.Add(1)
	c.gone.note(left.Name)
}
func (c *counter) AckPayload() []byte { return nil }
func (c *counter) NotifyPingComplete(*memberlist.Node, time.Duration, []byte) {
	c.probes.Add(1)
}

// report has no figures beyond the first ones if the views did not get full in
// time: then failed says so.
type report struct {
	Bench           string  `json:"bench"`
	Impl            string  `json:"impl"`
	Nodes           int     `json:"nodes"`
	Degree          int     `json:"degree,omitempty"`
	Hubs            int     `json:"hubs,omitempty"`
	Seed            int64   `json:"seed"`
	Failed          string  `json:"failed,omitempty"`
	Seconds         float64 `json:"seconds,omitempty"`
	ConnectS        float64 `json:"connect_s,omitempty"`
	FullViewS       float64 `json:"full_view_s,omitempty"`
	FullViewCPUS    float64 `json:"full_view_cpu_s,omitempty"`
	CPUCores        float64 `json:"cpu_cores,omitempty"`
	RSSBytesPerNode int64   `json:"rss_bytes_per_node,omitempty"`
	MissingPerView  float64 `json:"missing_per_view"`
	FalseDrops      *int64  `json:"false_drops,omitempty"`
	// memberlist has no heartbeats; what it has instead is acknowledged probes.
	HeartbeatsPerS float64 `json:"heartbeats_per_s,omitempty"`
	*wayReport
	*goneReport
}

type options struct {
	degree, hubs, changes, kill int
	seconds                     float64
	fullWithin                  time.Duration
	seed                        int64
}

func main() {
	var o options
	nodes := flag.String("nodes", "100", "nodes in one process; several numbers with commas between them are measured one after the other, and what stands behind an @ means nothing here")
	flag.IntVar(&o.degree, "degree", 4, "earlier nodes that each node joins")
	flag.IntVar(&o.hubs, "hubs", 0, "join so many first nodes, the same for all, instead of random earlier ones")
	flag.Float64Var(&o.seconds, "seconds", 20, "how long the full cluster is measured")
	flag.DurationVar(&o.fullWithin, "full-within", 2*time.Minute, "give up when views are not full by then")
	flag.IntVar(&o.changes, "changes", 40, "changes of a node's metadata, of which the way to every other node is timed")
	flag.IntVar(&o.kill, "kill", 0, "nodes that are killed in the end, of which is timed when each other one takes them for dead")
	flag.Int64Var(&o.seed, "seed", 1, "seed of the choice of earlier nodes")
	flag.Parse()
	if err := run(*nodes, o); err != nil {
		fmt.Fprintln(os.Stderr, "memberlist:", err)
		os.Exit(1)
	}
}

func run(nodes string, o options) error {
	if o.degree < 1 || o.hubs < 0 || o.seconds <= 0 || o.changes < 0 || o.kill < 0 {
		return errors.New("degree and seconds must be positive, hubs, changes and kill not negative")
	}
	sizes := strings.Split(nodes, ",")
	if len(sizes) > 1 {
		return eachByItself(sizes)
	}
	number, _, _ := strings.Cut(nodes, "@")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 {
		return fmt.Errorf("-nodes %q: write a number, 1 or more", nodes)
	}
	if o.kill >= n && o.kill > 0 {
		return fmt.Errorf("-kill %d leaves none of %d nodes", o.kill, n)
	}
	result, err := measure(n, o)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// eachByItself runs this program once for each size, so that each has memory of
// its own.
func eachByItself(sizes []string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	for _, size := range sizes {
		// The last of two is what holds.
		command := exec.Command(program, append(slices.Clone(os.Args[1:]), "--nodes", size)...)
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		if err := command.Run(); err != nil {
			return fmt.Errorf("with %s nodes: %w", size, err)
		}
	}
	return nil
}

func measure(n int, o options) (*report, error) {
	empty, err := residentBytes()
	if err != nil {
		return nil, err
	}
	result := &report{Bench: "cluster", Impl: "hashicorp/memberlist", Nodes: n, Degree: o.degree, Hubs: o.hubs, Seed: o.seed}
	if o.hubs > 0 {
		result.Degree = 0
	}
	count := &counter{}
	cluster := make([]*member, 0, n)
	for i := range n {
		node, err := start(i, count)
		if err != nil {
			return nil, err
		}
		defer node.Shutdown()
		cluster = append(cluster, node)
	}

	began, startedWith := time.Now(), cpuSeconds()
	full, err := connect(cluster, o, result, began.Add(o.fullWithin))
	if err != nil {
		return nil, err
	}
	if !full {
		result.MissingPerView = missing(cluster)
		result.Failed = fmt.Sprintf("after %v %v records are missing per view", time.Since(began), result.MissingPerView)
		return result, nil
	}
	result.FullViewS, result.FullViewCPUS = time.Since(began).Seconds(), cpuSeconds()-startedWith

	count.leaves.Store(0)
	count.probes.Store(0)
	cpu, from := cpuSeconds(), time.Now()
	var sum float64
	samples := 0
	for time.Since(from).Seconds() < o.seconds {
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
	left := count.leaves.Load()
	result.Seconds, result.CPUCores, result.FalseDrops = elapsed, used/elapsed, &left
	result.RSSBytesPerNode = (resident - empty) / int64(n)
	result.MissingPerView = sum / float64(samples)
	result.HeartbeatsPerS = float64(count.probes.Load()) / elapsed
	if o.changes > 0 && n > 1 {
		result.wayReport = count.ways.measure(cluster, o)
	}
	if o.kill > 0 {
		if result.goneReport, err = count.gone.measure(cluster, o.kill); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// connect joins each node to earlier ones, and waits until every view is full;
// it says whether that was so in time.
func connect(cluster []*member, o options, result *report, until time.Time) (bool, error) {
	began := time.Now()
	random := rand.New(rand.NewSource(o.seed))
	for i, node := range cluster {
		if i == 0 {
			continue
		}
		if time.Now().After(until) {
			return false, nil
		}
		// All of its own at once, as CASM's nodes do.
		var group sync.WaitGroup
		chosen := random.Perm(i)[:min(o.degree, i)]
		if o.hubs > 0 {
			chosen = make([]int, min(o.hubs, i))
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
			return false, fmt.Errorf("node %d: %w", i, err)
		}
	}
	result.ConnectS = time.Since(began).Seconds()
	for missing(cluster) > 0 {
		if time.Now().After(until) {
			return false, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true, nil
}

// start makes a node on 127.0.0.1, at a port that the system chooses, with
// encryption on.
func start(i int, count *counter) (*member, error) {
	node := &member{}
	key := sha256.Sum256([]byte("bench cluster"))
	config := memberlist.DefaultLANConfig()
	config.Name = "node-" + strconv.Itoa(i)
	config.BindAddr, config.BindPort = "127.0.0.1", 0
	config.AdvertiseAddr = "127.0.0.1"
	config.SecretKey = key[:]
	config.Events, config.Ping, config.Delegate = count, count, node
	config.Logger = log.New(io.Discard, "", 0)
	list, err := memberlist.Create(config)
	node.Memberlist = list
	return node, err
}

// missing is how many members a node does not see, in the mean.
func missing(cluster []*member) float64 {
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
