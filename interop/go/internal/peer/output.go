package peer

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/wetware/casm/interop/go/internal/table"
)

// Fields are those of a line of output.
type Fields map[string]any

// Output writes one JSON object per line.
type Output struct {
	mu sync.Mutex
	w  io.Writer
}

// NewOutput writes to w.
func NewOutput(w io.Writer) *Output { return &Output{w: w} }

// Emit writes an event.
func (o *Output) Emit(event string, fields Fields) {
	line := Fields{"event": event}
	for k, v := range fields {
		line[k] = v
	}
	data, err := json.Marshal(line)
	if err != nil {
		data = fmt.Appendf(nil, `{"event":"error","kind":"Internal","message":%q}`, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	// Nobody is left to tell when the reader is gone.
	_, _ = o.w.Write(append(data, '\n'))
}

// Error reports that something failed.
func (o *Output) Error(kind string, err error) {
	o.Emit("error", Fields{"kind": kind, "message": err.Error()})
}

// recordFields is a record as the command line's JSON has it.
func recordFields(r table.Record) Fields {
	meta := make(map[string]string)
	for _, field := range r.Meta {
		key, value, _ := strings.Cut(field, "=")
		if _, known := meta[key]; !known {
			meta[key] = value
		}
	}
	return Fields{
		"peer": r.Peer.String(), "server": fmt.Sprintf("%016x", r.Server),
		"seq": strconv.FormatUint(r.Seq, 10), "ttl_ms": r.TTL / time.Millisecond,
		"host": r.Host, "meta": meta,
	}
}

func recordList(records []table.Record) []Fields {
	list := make([]Fields, len(records))
	for i, r := range records {
		list[i] = recordFields(r)
	}
	return list
}

func addrStrings(addrs []ma.Multiaddr) []string {
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.String()
	}
	return list
}

func fullAddrs(info peer.AddrInfo) []string {
	addrs, err := peer.AddrInfoToP2pAddrs(&info)
	if err != nil {
		return nil
	}
	return addrStrings(addrs)
}
