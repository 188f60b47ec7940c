package peer

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wetware/casm/interop/go/internal/schema/csp"
	"github.com/wetware/casm/interop/go/internal/schema/gochan"
)

// The test vectors of channels and semaphores that the Rust code made.
type cspVectors struct {
	Interfaces map[string]string
	Outcomes   map[string]uint16
	Leases     []struct {
		Request, Settled uint64 `json:",string"`
		Take             bool
		WaitMs           uint32 `json:"wait_ms"`
		Hex              hexText
	}
	Leased []struct {
		Is    string
		Lease uint64 `json:",string"`
		Data  hexText
		Hex   hexText
	}
	Sends []struct {
		Number, Settled uint64 `json:",string"`
		WaitMs          uint32 `json:"wait_ms"`
		Value           hexText
		Hex             hexText
	}
	Grants []struct {
		Token uint64 `json:",string"`
		TTLMs uint32 `json:"ttl_ms"`
		Hex   hexText
	}
}

func loadCspVectors(t *testing.T) (v cspVectors) {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/spec/vectors/csp.json")
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Leases) == 0 || len(v.Leased) == 0 || len(v.Sends) == 0 || len(v.Grants) == 0 {
		t.Fatal("vectors are missing")
	}
	return v
}

func TestCspVectorsOfInterfaces(t *testing.T) {
	file := loadCspVectors(t)
	ours := map[string]uint64{
		"Closer": gochan.Closer_TypeID, "Sender": gochan.Sender_TypeID,
		"Recver": gochan.Recver_TypeID, "SendCloser": gochan.SendCloser_TypeID,
		"Chan": gochan.Chan_TypeID, "Channels": csp.Channels_TypeID,
		"Channel": csp.Channel_TypeID, "Member": csp.Member_TypeID,
		"Semaphore": csp.Semaphore_TypeID, "Holder": csp.Holder_TypeID, "Lease": csp.Lease_TypeID,
	}
	if len(file.Interfaces) != len(ours) {
		t.Errorf("%d interfaces, not %d", len(file.Interfaces), len(ours))
	}
	for name, want := range file.Interfaces {
		if id := fmt.Sprintf("%016x", ours[name]); id != want {
			t.Errorf("%s has the id %s, not %s", name, id, want)
		}
	}
	if len(file.Outcomes) != 6 {
		t.Errorf("%d outcomes", len(file.Outcomes))
	}
	for name, number := range file.Outcomes {
		if got := csp.Outcome(number).String(); got != name {
			t.Errorf("the outcome %d is %s, not %s", number, got, name)
		}
	}
}

func TestCspVectorsOfCalls(t *testing.T) {
	file := loadCspVectors(t)
	for _, row := range file.Leases {
		params := csp.Member_lease_Params(root(t, row.Hex))
		if params.Request() != row.Request || params.Settled() != row.Settled ||
			params.Take() != row.Take || params.WaitMs() != row.WaitMs {
			t.Errorf("read %v, not %+v", params, row)
		}
	}
	for _, row := range file.Sends {
		params := csp.Member_send_Params(root(t, row.Hex))
		value, err := params.Value()
		if err != nil || string(value) != string(row.Value) || params.Number() != row.Number ||
			params.Settled() != row.Settled || params.WaitMs() != row.WaitMs {
			t.Errorf("read %v, not %+v: %v", params, row, err)
		}
	}
}

func TestCspVectorsOfAnswers(t *testing.T) {
	file := loadCspVectors(t)
	for _, row := range file.Leased {
		lease := csp.Lease(root(t, row.Hex))
		if is := strings.ToLower(lease.Which().String()); is != row.Is {
			t.Errorf("read %s, not %s", is, row.Is)
		}
		if row.Is != "value" {
			continue
		}
		value, err := lease.Value()
		if err != nil {
			t.Fatal(err)
		}
		data, err := value.Data()
		if err != nil || value.Lease() != row.Lease || string(data) != string(row.Data) {
			t.Errorf("read %x by the lease %d: %v", data, value.Lease(), err)
		}
	}
	for _, row := range file.Grants {
		grant := csp.Grant(root(t, row.Hex))
		if grant.Which() != csp.Grant_Which_token || grant.Token() != row.Token ||
			grant.TtlMs() != row.TTLMs {
			t.Errorf("read %v, not %+v", grant, row)
		}
	}
}
