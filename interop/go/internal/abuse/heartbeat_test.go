package abuse

import (
	"testing"

	"github.com/wetware/casm/interop/go/internal/wire"
)

func TestNoCorruptHeartbeatCanBeRead(t *testing.T) {
	for i := range len(lies) + 3 {
		data, err := corruptHeartbeat(i)
		if err != nil {
			t.Fatal(err)
		}
		what := "no heartbeat"
		if i < len(lies) {
			what = lies[i].what
		}
		if h, err := wire.DecodeHeartbeat(data); err == nil {
			t.Errorf("%s: read as %+v", what, h)
		}
	}
}
