package events_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/events"
)

// Values travel byte for byte: white space, 1.50, big integers and escapes.
func TestValuesKeepTheirBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := strings.TrimSpace(drawJSON(t, 3))
		write := events.StateWrite{Value: []byte(value), Strategy: "timestamp", Request: "r"}
		loss := events.StateLoss{Verb: "set", Value: []byte(value), Strategy: "reject", Request: "r", Reason: "x", Message: "m \u2028"}
		ev := drawEvent(t)
		ev.Digest, ev.Data, ev.State = "d", write.Encode(), loss.Encode()
		stored, err := events.Decode(ev.Encode())
		if err != nil || !reflect.DeepEqual(stored, ev) {
			t.Fatalf("%s is %+v, %v", ev.Encode(), stored, err)
		}
		w, err := events.DecodeStateWrite(stored.Data)
		if err != nil || !reflect.DeepEqual(w, write) {
			t.Fatalf("%s is %+v, %v", stored.Data, w, err)
		}
		l, err := events.DecodeStateLoss(stored.State)
		if err != nil || !reflect.DeepEqual(l, loss) {
			t.Fatalf("%s is %+v, %v", stored.State, l, err)
		}
		if !json.Valid(ev.Encode()) {
			t.Fatalf("not JSON: %s", ev.Encode())
		}
	})
}

func TestEventWithoutDataIsWhole(t *testing.T) {
	ev := events.Event{Type: "t", Aggregate: "agent", ID: "a", Version: 1, Schema: 1, Digest: "d"}
	got, err := events.Decode(ev.Encode())
	if err != nil || string(got.Data) != "{}" || got.Key != "" || got.State != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	whole := `{"type":"t","aggregate":"agent","id":"a","version":1,"timestamp":"2026-01-02T03:04:05Z",` +
		`"recorded_at":"2026-01-02T03:04:05Z","writer":"","command_id":"c","data":{},"digest":"d","schema":1}`
	if _, err := events.Decode([]byte(whole)); err != nil {
		t.Fatal(err)
	}
	for _, edit := range [][2]string{
		{`"type":"t",`, ``}, {`"aggregate":"agent",`, ``}, {`"id":"a",`, ``}, {`"version":1`, `"version":0`},
		{`"version":1,`, ``}, {`"digest":"d",`, ``}, {`"schema":1`, `"schema":0`}, {`"schema":1`, `"schema":2`},
		{`"schema":1`, `"schema":-1`}, {`"version":1`, `"version":-1`}, {`"version":1`, `"version":1.5`},
		{`"version":1`, `"version":"1"`}, {`2026-01-02T03:04:05Z`, `2026-01-02`}, {`"id":"a"`, `"id":7`},
		{`"id":"a"`, `"id":"a","id":"b"`}, {`}`, ``}, {`"c"`, "\"\xff\""}, {`1}`, `1} x`},
	} {
		if ev, err := events.Decode([]byte(strings.Replace(whole, edit[0], edit[1], 1))); err == nil {
			t.Errorf("%q for %q: %+v", edit[1], edit[0], ev)
		}
	}
	for cut := range len(whole) {
		if ev, err := events.Decode([]byte(whole[:cut])); err == nil {
			t.Errorf("torn at %d: %+v", cut, ev)
		}
	}
}

func FuzzDecode(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		ev, err := events.Decode(body)
		if err != nil || ev.Timestamp.Year() < 1 || ev.RecordedAt.Year() < 1 || ev.Timestamp.Year() > 9999 || ev.RecordedAt.Year() > 9999 {
			return
		}
		again, err := events.Decode(ev.Encode())
		if len(ev.Data) == 0 {
			ev.Data = []byte("{}")
		}
		if err != nil || !reflect.DeepEqual(again, ev) {
			t.Errorf("%q is %+v, written and read again %+v, %v", body, ev, again, err)
		}
		if _, err := events.Chain("", &ev); err != nil {
			t.Errorf("%q has no digest: %v", body, err)
		}
	})
}

func FuzzDecodeStateWrite(f *testing.F) {
	seed(f)
	for _, s := range []string{
		`{}`, `{"value":null}`, `{"value": 1.50 ,"strategy":"reject","request":"r"}`, `{"value":1,"value":2}`, `null`, `[]`, `{"strategy":1}`,
		`{"value":00000000000000,"strategy":"}`, `{"value":1,"strategy":"}`, `{"value":,"strategy":"","request":""}`, `{"value":1,"strategy":"a","request":"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := events.DecodeStateWrite(data)
		if err != nil {
			return
		}
		again, err := events.DecodeStateWrite(w.Encode())
		if err != nil || !reflect.DeepEqual(again, w) {
			t.Errorf("%q is %+v, written and read again %+v, %v", data, w, again, err)
		}
	})
}

func FuzzDecodeStateLoss(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := events.DecodeStateLoss(data)
		if err != nil {
			return
		}
		again, err := events.DecodeStateLoss(l.Encode())
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Errorf("%q is %+v, written and read again %+v, %v", data, l, again, err)
		}
	})
}

// seed adds the golden events and their data.
func seed(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
		if ev, err := events.Decode(body); err == nil {
			f.Add([]byte(ev.Data))
		}
	}
}
