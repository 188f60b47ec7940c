package peer

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/wetware/casm/interop/go/internal/schema/service"
)

// The test vectors of services that the Rust code made.
type serviceVectors struct {
	Interfaces []struct{ Name, ID string }
	Calls      []struct {
		Request   hexText
		TimeoutMs uint32 `json:"timeout_ms"`
		Headers   map[string]string
		Hex       hexText
	}
	Answers []struct {
		OK      hexText
		Failed  string
		Message string
		Hex     hexText
	}
}

func loadServiceVectors(t *testing.T) (v serviceVectors) {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/spec/vectors/service.json")
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Interfaces) != 3 || len(v.Calls) == 0 || len(v.Answers) == 0 {
		t.Fatal("vectors are missing")
	}
	return v
}

func root(t *testing.T, hex hexText) capnp.Struct {
	t.Helper()
	message, err := capnp.Unmarshal(hex)
	if err != nil {
		t.Fatal(err)
	}
	root, err := message.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root.Struct()
}

func TestServiceVectors(t *testing.T) {
	file := loadServiceVectors(t)
	ours := map[string]uint64{
		"Services": service.Services_TypeID, "Service": service.Service_TypeID,
		"Service.Parts": service.Service_Parts_TypeID,
	}
	for _, row := range file.Interfaces {
		if id := fmt.Sprintf("%016x", ours[row.Name]); id != row.ID {
			t.Errorf("%s has the id %s, not %s", row.Name, id, row.ID)
		}
	}
	for _, row := range file.Calls {
		params := service.Service_call_Params(root(t, row.Hex))
		request, err := params.Request()
		if err != nil || string(request) != string(row.Request) || params.TimeoutMs() != row.TimeoutMs {
			t.Errorf("read %x within %d ms: %v", request, params.TimeoutMs(), err)
		}
		headers, err := params.Headers()
		if err != nil || headers.Len() != len(row.Headers) {
			t.Fatalf("%d headers, not %d: %v", headers.Len(), len(row.Headers), err)
		}
		for i := range headers.Len() {
			key, _ := headers.At(i).Key()
			if value, err := headers.At(i).Value(); err != nil || value != row.Headers[key] {
				t.Errorf("the header %s is %s: %v", key, value, err)
			}
		}
	}
	for _, row := range file.Answers {
		fields, err := readAnswer(service.Answer(root(t, row.Hex)))
		switch {
		case err != nil:
			t.Error(err)
		case row.Failed == "" && fields["text"] != string(row.OK):
			t.Errorf("read %v, not %s", fields, row.OK)
		case row.Failed != "" && (fields["failed"] != row.Failed || fields["said"] != row.Message):
			t.Errorf("read %v, not %s: %s", fields, row.Failed, row.Message)
		}
	}
}
