package abuse

import (
	"bytes"
	"encoding/binary"

	"capnproto.org/go/capnp/v3/packed"

	"github.com/wetware/casm/interop/go/internal/wire"
)

// The words of an unpacked heartbeat: the segment table, the root pointer, two
// words of data, the pointers to host and meta, and what these point to.
const (
	hostWord = 4
	metaWord = 5
)

// listPointer is a pointer to a list that begins `offset` words behind it.
func listPointer(offset int32, size, count uint64) uint64 {
	return 1 | uint64(uint32(offset)<<2) | size<<32 | count<<35
}

// The sizes of list elements.
const (
	voids     = 0
	oneByte   = 2
	pointers  = 6
	composite = 7
	maxCount  = 1<<29 - 1
)

// lies are words that no pointer to a host or to meta may be.
var lies = []struct {
	what    string
	at      int
	pointer uint64
}{
	{"host beyond the end", hostWord, listPointer(1000, oneByte, 5)},
	{"host before the beginning", hostWord, listPointer(-100, oneByte, 5)},
	{"host far too long", hostWord, listPointer(1, oneByte, maxCount)},
	{"host without its final zero", hostWord, listPointer(-3, oneByte, 2)},
	{"host is a struct", hostWord, 1 << 32},
	{"host is a list of voids", hostWord, listPointer(1, voids, maxCount)},
	{"host is in a segment that is not there", hostWord, 2 | 7<<32},
	{"host is its own far pointer", hostWord, 2 | (hostWord-1)<<3},
	{"host is a double far pointer into nowhere", hostWord, 2 | 4 | 9999<<3},
	{"host is a capability", hostWord, 3},
	{"meta beyond the end", metaWord, listPointer(1000, pointers, 3)},
	{"meta far too long", metaWord, listPointer(1, pointers, maxCount)},
	{"meta is a list of voids", metaWord, listPointer(0, voids, maxCount)},
	{"meta is a text", metaWord, listPointer(0, oneByte, 8)},
	{"meta contains itself", metaWord, listPointer(-1, pointers, 1)},
	{"meta contains the whole message", metaWord, listPointer(-4, pointers, 4)},
	{"meta is composite and has no tag", metaWord, listPointer(0, composite, maxCount)},
	{"meta is a struct", metaWord, 1<<48 | 1<<32},
	{"meta is in a segment that is not there", metaWord, 2 | 7<<32},
	{"meta is a capability", metaWord, 3 | 1<<32},
}

// corruptHeartbeat gives the data of one of many malformed heartbeats.
func corruptHeartbeat(i int) ([]byte, error) {
	good, err := honest(1)
	if err != nil {
		return nil, err
	}
	others := [][]byte{
		{},
		[]byte("not Cap'n Proto at all"),
		good[:len(good)/2],
		// Each pair of bytes stands for 2 KiB of zeros: 500 MB in all.
		bytes.Repeat([]byte{0x00, 0xff}, wire.MaxMessage/4),
	}
	i %= len(lies) + len(others)
	if i >= len(lies) {
		return others[i-len(lies)], nil
	}
	words, err := packed.Unpack(nil, good)
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint64(words[8*lies[i].at:], lies[i].pointer)
	return packed.Pack(nil, words), nil
}
