package upgrade

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
)

// passing are members that tell of the moment or of the wording and not of what
// is stored.
var passing = map[string]bool{
	"token": true, "source": true, "cursor": true, "replayed": true, "message": true,
	"last_seen": true, "dirty_keys": true,
}

// verbatim are members that hold a client's own JSON, which keeps its bytes.
var verbatim = map[string]bool{"value": true, "payload": true, "result": true, "body": true}

// same asks that a reply has all that an earlier one had. It may have more
// members: a later build may tell more.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	if err := differs(json.RawMessage(got), json.RawMessage(want)); err != nil {
		t.Errorf("%s: %v\nis  %.2000s\nwas %.2000s", what, err, got, want)
	}
}

func differs(got, want json.RawMessage) error {
	got, want = bytes.TrimSpace(got), bytes.TrimSpace(want)
	switch {
	case bytes.Equal(got, want):
		return nil
	case len(got) == 0 || len(want) == 0 || got[0] != want[0]:
	case want[0] == '{':
		var g, w map[string]json.RawMessage
		if err := read(got, &g, want, &w); err != nil {
			return err
		}
		for name, member := range w {
			err := differs(g[name], member)
			if verbatim[name] && err == nil && !bytes.Equal(g[name], member) {
				err = fmt.Errorf("%s, was %s", g[name], member)
			}
			if err != nil && !passing[name] {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	case want[0] == '[':
		var g, w []json.RawMessage
		if err := read(got, &g, want, &w); err != nil {
			return err
		}
		for i := range w {
			if len(g) != len(w) {
				return fmt.Errorf("%d elements, were %d", len(g), len(w))
			}
			if err := differs(g[i], w[i]); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
		if len(w) > 0 || len(g) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%s, was %s", got, want)
}

func read(got []byte, g any, want []byte, w any) error {
	err := json.Unmarshal(got, g)
	if err == nil {
		err = json.Unmarshal(want, w)
	}
	return err
}

// A comparison that finds nothing proves nothing: each kind of difference is
// shown to it once.
func TestSame(t *testing.T) {
	was := `{"entries":[{"key":"k","value":{"a":1.0},"version":2}],"token":"x"}`
	for name, c := range map[string]struct {
		now  string
		same bool
	}{
		"equal":           {was, true},
		"more members":    {`{"entries":[{"key":"k","value":{"a":1.0},"version":2,"actor":"x"}],"token":"y","more":1}`, true},
		"another number":  {`{"entries":[{"key":"k","value":{"a":1},"version":2}],"token":"x"}`, false},
		"white space":     {`{"entries":[{"key":"k","value":{"a": 1.0},"version":2}],"token":"x"}`, false},
		"another version": {`{"entries":[{"key":"k","value":{"a":1.0},"version":3}],"token":"x"}`, false},
		"a member less":   {`{"entries":[{"key":"k","value":{"a":1.0}}],"token":"x"}`, false},
		"an element less": {`{"entries":[],"token":"x"}`, false},
		"an element more": {`{"entries":[{"key":"k","value":{"a":1.0},"version":2},{}],"token":"x"}`, false},
		"an error":        {`{"error":{"status":404}}`, false},
	} {
		if err := differs(json.RawMessage(c.now), json.RawMessage(was)); (err == nil) != c.same {
			t.Errorf("%s: %v", name, err)
		}
	}
}
