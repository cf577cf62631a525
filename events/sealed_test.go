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
	open.Unseal([]byte(plain))
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

// What clients write as a value does not look like sealed content.
func TestNotSealed(t *testing.T) {
	for _, data := range []string{
		``, `{}`, `{"sealed":"AAAA"}`, `{"sealed":"AAAA","sealed_key":""}`, `{"sealed":"A!","sealed_key":"k"}`,
		string((&events.StateWrite{Value: []byte(`{"sealed":"AAAA","sealed_key":"k"}`), Strategy: "timestamp"}).Encode()),
	} {
		ev := events.Event{Type: events.StateSet, Data: []byte(data)}
		if key, _, ok := ev.Sealed(); ok {
			t.Errorf("%s is sealed with %s", data, key)
		}
	}
}
