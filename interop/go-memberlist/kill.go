package main

import (
	"slices"
	"sync"
	"time"
)

// gone takes note of who is taken for dead, and when.
type gone struct {
	lock sync.Mutex
	left map[string][]time.Time
}

type goneReport struct {
	Killed          int     `json:"killed"`
	GoneMissing     int     `json:"gone_missing"`
	GoneP50MS       float64 `json:"gone_p50_ms,omitempty"`
	GoneP99MS       float64 `json:"gone_p99_ms,omitempty"`
	GoneMaxMS       float64 `json:"gone_max_ms,omitempty"`
	GoneForAllP50MS float64 `json:"gone_for_all_p50_ms,omitempty"`
}

func (g *gone) note(name string) {
	now := time.Now()
	g.lock.Lock()
	defer g.lock.Unlock()
	if g.left == nil {
		g.left = map[string][]time.Time{}
	}
	g.left[name] = append(g.left[name], now)
}

func (g *gone) of(name string) []time.Time {
	g.lock.Lock()
	defer g.lock.Unlock()
	return slices.Clone(g.left[name])
}

// measure kills the last nodes of a cluster, one after the other: they close their
// sockets without a word. It waits until all others take each for dead, or a minute.
func (g *gone) measure(cluster []*member, kill int) (*goneReport, error) {
	report := &goneReport{Killed: kill}
	var each, toAll []time.Duration
	for n := range kill {
		victim := cluster[len(cluster)-1-n]
		name, others := victim.LocalNode().Name, len(cluster)-1-n
		at := time.Now()
		if err := victim.Shutdown(); err != nil {
			return nil, err
		}
		for len(g.of(name)) < others && time.Since(at) < time.Minute {
			time.Sleep(10 * time.Millisecond)
		}
		var told []time.Duration
		for _, when := range g.of(name) {
			told = append(told, when.Sub(at))
		}
		slices.Sort(told)
		if len(told) < others {
			report.GoneMissing += others - len(told)
		} else {
			toAll = append(toAll, told[len(told)-1])
		}
		each = append(each, told...)
		time.Sleep(5 * time.Second)
	}
	slices.Sort(each)
	slices.Sort(toAll)
	report.GoneP50MS, report.GoneP99MS = percentile(each, 50), percentile(each, 99)
	report.GoneMaxMS, report.GoneForAllP50MS = percentile(each, 100), percentile(toAll, 50)
	return report, nil
}
