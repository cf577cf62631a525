package events_test

import (
	"bytes"
	"testing"

	"github.com/tidemark-engine/tidemark/events"
)

// The stored form of a sealed event is what the digest covers and what is copied,
// whether its content is known, unknown or erased.
func TestSealed(t *testing.T) {
	ev := usual()
	box := []byte{0, 1, 254, 255}
	plain := string(ev.Data)
	ev.Seal("00ff", box)
	digest, err := events.Chain(previous, &ev)
	if err != nil {
		t.Fatal(err)
	}
	ev.SetDigest(digest)
	stored := ev.Encode()
	if string(ev.Data) != plain || bytes.Contains(stored, []byte("vvv")) {
		t.Errorf("%s is stored as %s", ev.Data, stored)
	}
	read, err := events.Decode(stored)
	if err != nil {
		t.Fatal(err)
	}
	key, got, ok := read.Sealed()
	if key != "00ff" || !bytes.Equal(got, box) || !ok || !bytes.Equal(read.SealContext(), ev.SealContext()) {
		t.Errorf("read key %q, %v, %v", key, got, ok)
	}
	open, erased := read, read
	if err := open.Unseal([]byte(plain)); err != nil {
		t.Fatal(err)
	}
	erased.Erase()
	for name, e := range map[string]*events.Event{"stored": &read, "opened": &open, "erased": &erased} {
		if again, err := events.Chain(previous, e); err != nil || again != digest || !bytes.Equal(e.Encode(), stored) {
			t.Errorf("%s: digest %s, %v, stored form %s", name, again, err, e.Encode())
		}
		if key, _, ok := e.Sealed(); !ok || key != "00ff" {
			t.Errorf("%s: not sealed", name)
		}
	}
	if w, err := events.DecodeStateWrite(open.Data); err != nil || len(w.Value) != 256 || !bytes.Contains(open.Published(), w.Value) {
		t.Errorf("opened: %s, %v", open.Data, err)
	}
	if erased.Type != events.StateDeleted || !erased.Erased || !bytes.Contains(erased.Published(), []byte(`"type":"agent.state_set"`)) {
		t.Errorf("erased: %s", erased.Published())
	}
}

// Of a task or a session the state is encrypted too, and its outline stays readable.
func TestSealedOwned(t *testing.T) {
	ev := events.Event{
		Type: events.TaskCompleted, Aggregate: "task", ID: "t1", Version: 3, Timestamp: when, RecordedAt: when, CommandID: "c", Schema: 1,
		Data: []byte(`{"result": 1.50 ,"request":"r"}`), State: []byte(`{"status":"completed","result": 1.50 }`),
		Owner: "a1", Outline: []byte(`{"status":"completed"}`),
	}
	box := ev.Content()
	ev.Seal("00ff", []byte("box"))
	digest, err := events.Chain(previous, &ev)
	if err != nil {
		t.Fatal(err)
	}
	ev.SetDigest(digest)
	stored := ev.Encode()
	if bytes.Contains(stored, []byte("1.50")) || !bytes.Contains(stored, []byte(`"state":{"status":"completed"}`)) {
		t.Errorf("stored as %s", stored)
	}
	read, err := events.Decode(stored)
	if err != nil {
		t.Fatal(err)
	}
	if key, got, ok := read.Sealed(); key != "00ff" || string(got) != "box" || !ok || read.KeyAgent() != "a1" {
		t.Errorf("read as of %s: key %q, %q, %v", read.KeyAgent(), key, got, ok)
	}
	open, erased := read, read
	if err := open.Unseal(box); err != nil || !bytes.Equal(open.Data, ev.Data) || !bytes.Equal(open.State, ev.State) {
		t.Errorf("opened: %s, %s, %v", open.Data, open.State, err)
	}
	erased.Erase()
	if string(erased.State) != `{"status":"completed"}` || string(erased.Data) != "{}" || erased.Type != events.TaskCompleted {
		t.Errorf("erased: %s", erased.Published())
	}
	for _, e := range []*events.Event{&ev, &open, &erased} {
		if again, err := events.Chain(previous, e); err != nil || again != digest || !bytes.Equal(e.Encode(), stored) || e.KeyAgent() != "a1" {
			t.Errorf("digest %s, %v, stored form %s", again, err, e.Encode())
		}
	}
}

// What clients write as a value does not look like sealed content.
func TestNotSealed(t *testing.T) {
	for _, data := range []string{
		``, `{}`, `{"sealed":"AAAA"}`, `{"sealed":"AAAA","sealed_key":""}`, `{"sealed":"A!","sealed_key":"k"}`,
		`{"sealed":"AAAA","sealed_key":"k","sealed_for":""}`,
		string((&events.StateWrite{Value: []byte(`{"sealed":"AAAA","sealed_key":"k"}`), Strategy: "timestamp"}).Encode()),
	} {
		ev := events.Event{Type: events.StateSet, Data: []byte(data)}
		if key, _, ok := ev.Sealed(); ok {
			t.Errorf("%s is sealed with %s", data, key)
		}
	}
}
