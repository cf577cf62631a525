package keys_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/internal/keys"
)

// ring returns a ring with a master key file.
func ring(t *testing.T, m *memory, file string) *keys.Ring {
	t.Helper()
	source := keys.Source{MasterKey: file}
	r := keys.New(m, source.Load, slog.New(slog.DiscardHandler))
	if _, err := r.Load(t.Context(), "dataset"); err != nil {
		t.Fatal(err)
	}
	if err := r.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func keyFile(t *testing.T, secrets ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(strings.Join(secrets, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(agent, value string) *events.Event {
	return &events.Event{
		Type: events.StateSet, Aggregate: "agent", ID: agent, Key: "k", Version: 1, CommandID: "c", Schema: 1,
		Timestamp: time.Unix(1, 0), RecordedAt: time.Unix(1, 0),
		Data: (&events.StateWrite{Value: []byte(`"` + value + `"`), Strategy: "timestamp", Request: "00ff00ff00ff00ff"}).Encode(),
	}
}

// sealed stores an event and returns its bytes.
func sealed(t *testing.T, r *keys.Ring, ev *events.Event) []byte {
	t.Helper()
	if err := r.Seal(t.Context(), ev, false); err != nil {
		t.Fatal(err)
	}
	digest, err := events.Chain("", ev)
	if err != nil {
		t.Fatal(err)
	}
	ev.SetDigest(digest)
	return ev.Encode()
}

// opened reads stored bytes, and checks that the chain holds before and after.
func opened(t *testing.T, r *keys.Ring, body []byte) events.Event {
	t.Helper()
	ev, err := events.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(t.Context(), &ev); err != nil {
		t.Fatal(err)
	}
	if digest, err := events.Chain("", &ev); err != nil || digest != ev.Digest {
		t.Errorf("the chain breaks: %s, %v", digest, err)
	}
	if !bytes.Equal(ev.Encode(), body) {
		t.Errorf("the stored form changed:\n%s\n%s", ev.Encode(), body)
	}
	return ev
}

func TestSealOpenErase(t *testing.T) {
	m, file := newMemory(), keyFile(t, keys.NewSecret())
	one, two := ring(t, m, file), ring(t, m, file)
	first := sealed(t, one, write("a1", "SECRET"))
	for _, hidden := range []string{"SECRET", "00ff00ff", base64.StdEncoding.EncodeToString([]byte("SECRET"))} {
		if bytes.Contains(first, []byte(hidden)) {
			t.Errorf("stored as %s", first)
		}
	}
	if ev := opened(t, two, first); !bytes.Contains(ev.Data, []byte(`"SECRET"`)) || !bytes.Contains(ev.Published(), []byte(`"SECRET"`)) || ev.Erased {
		t.Errorf("read as %s", ev.Published())
	}
	other := sealed(t, two, write("a2", "other"))
	second := sealed(t, two, write("a1", "more"))

	retired, settle, err := one.Retire(t.Context(), "a1", "c1")
	if err != nil || len(retired) != 1 || settle <= 0 {
		t.Fatal(retired, settle, err)
	}
	later := sealed(t, two, write("a1", "later")) // of the other engine, which has heard of it
	if err := two.Seal(t.Context(), write("a1", "SECRET and later"), true); err == nil || !strings.Contains(err.Error(), "keys.unavailable") {
		t.Errorf("content from before the erasure gets a new key: %v", err)
	}
	if ev := opened(t, two, first); ev.Erased {
		t.Error("a retired key is destroyed already")
	}
	for range 2 { // it may be repeated
		if again, _, err := one.Retire(t.Context(), "a1", "c1"); err != nil || !slices.Equal(again, retired) {
			t.Errorf("retired again: %v, %v", again, err)
		}
		if err := one.Destroy(t.Context(), "a1", "c1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*keys.Ring{one, two, ring(t, m, file)} {
		for _, body := range [][]byte{first, second} {
			ev := opened(t, r, body)
			if !ev.Erased || ev.Type != events.StateDeleted || !bytes.Contains(ev.Published(), []byte(`"type":"agent.state_set"`)) ||
				!bytes.Contains(ev.Published(), []byte(`{"erased":true}`)) {
				t.Errorf("after the erasure: %s", ev.Published())
			}
		}
		if ev := opened(t, r, later); ev.Erased || !bytes.Contains(ev.Data, []byte("later")) {
			t.Errorf("what was written after the retirement: %s", ev.Published())
		}
		if ev := opened(t, r, other); ev.Erased {
			t.Error("another agent is erased too")
		}
	}
	if n := len(m.names["agent.a1"]); n != 1 {
		t.Errorf("the store keeps %d records of the erased agent", n)
	}
}

// An engine that hears of no change neither encrypts nor decrypts with a key that
// another engine has destroyed, and one that the store cannot reach does neither after
// the time that an erasure waits.
func TestDestroyedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, file := newMemory(), keyFile(t, keys.NewSecret())
		one, deaf := ring(t, m, file), ring(t, m, file)
		alone := keys.New(m, (&keys.Source{MasterKey: file}).Load, slog.New(slog.DiscardHandler)) // it does not follow
		if _, err := alone.Load(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		body := sealed(t, one, write("a1", "SECRET"))
		others := []*keys.Ring{deaf, alone}
		for _, r := range others {
			opened(t, r, body)
			opened(t, r, sealed(t, r, write("a1", "cached")))
		}
		m.deaf = true
		retired, settle, err := one.Retire(t.Context(), "a1", "c1")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(settle)
		for _, r := range others { // the erasure deletes what the retired key has encrypted
			if ev := opened(t, r, body); ev.Erased {
				t.Error("a retired key is destroyed already")
			}
			ev := write("a1", "later")
			sealed(t, r, ev)
			if id, _, _ := ev.Sealed(); slices.Contains(retired, id) {
				t.Error("a retired key encrypts")
			}
		}
		if err := one.Destroy(t.Context(), "a1", "c1"); err != nil {
			t.Fatal(err)
		}
		for _, r := range others { // at once
			if ev := opened(t, r, body); !ev.Erased {
				t.Errorf("a destroyed key decrypts: %s", ev.Published())
			}
		}

		body = sealed(t, one, write("a2", "SECRET"))
		opened(t, deaf, body)
		m.fail = errors.New("no answer")
		time.Sleep(settle)
		ev, _ := events.Decode(body)
		if err := deaf.Open(t.Context(), &ev); err == nil || !strings.Contains(err.Error(), "keys.unavailable") {
			t.Errorf("a cached key decrypts while the store cannot be reached: %v", err)
		}
		if err := deaf.Seal(t.Context(), write("a2", "x"), false); err == nil || !strings.Contains(err.Error(), "keys.unavailable") {
			t.Errorf("a cached key encrypts while the store cannot be reached: %v", err)
		}
	})
}

// Of two engines that make the first key at once both use the one stored first.
func TestFirstKeyRace(t *testing.T) {
	m, file := newMemory(), keyFile(t, keys.NewSecret())
	rings := []*keys.Ring{ring(t, m, file), ring(t, m, file), ring(t, m, file)}
	bodies := make([][]byte, len(rings))
	var running sync.WaitGroup
	for i, r := range rings {
		running.Go(func() { bodies[i] = sealed(t, r, write("a1", "value")) })
	}
	running.Wait()
	ids := map[string]bool{}
	for _, body := range bodies {
		ev := opened(t, rings[0], body)
		id, _, _ := ev.Sealed()
		ids[id] = true
	}
	if len(ids) != 1 {
		t.Errorf("%d keys were used", len(ids))
	}
}

func TestRotate(t *testing.T) {
	m, old, fresh := newMemory(), keys.NewSecret(), keys.NewSecret()
	file := keyFile(t, old)
	serving := ring(t, m, file)
	body := sealed(t, serving, write("a1", "value"))
	before := m.all()

	if err := os.WriteFile(file, []byte(fresh+"\n"+old), 0o600); err != nil {
		t.Fatal(err)
	}
	rotator := ring(t, m, file)
	if n, err := rotator.Rotate(t.Context(), func() {}); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if n, err := rotator.Rotate(t.Context(), func() {}); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}
	if err := os.WriteFile(file, []byte(fresh), 0o600); err != nil {
		t.Fatal(err)
	}
	opened(t, serving, body)
	later := sealed(t, serving, write("a9", "first key after the rotation"))
	opened(t, ring(t, m, file), later)
	opened(t, ring(t, m, file), body)
	if bytes.Contains(m.all(), before[:len(before)/2]) {
		t.Error("keys wrapped with the old master key are left")
	}
	source := keys.Source{MasterKey: old}
	r := keys.New(m, source.Load, slog.New(slog.DiscardHandler))
	if _, err := r.Load(t.Context(), ""); !errors.Is(err, keys.ErrWrongMaster) {
		t.Errorf("the old master key: %v", err)
	}
}

// An engine that has both master keys gives new agents keys before the rotation, after one
// that was interrupted, and when it has ended.
func TestNewKeysBesideARotation(t *testing.T) {
	m, old, fresh := newMemory(), keys.NewSecret(), keys.NewSecret()
	serving := ring(t, m, keyFile(t, old))
	bodies := [][]byte{sealed(t, serving, write("a1", "before"))}
	for _, secrets := range [][]string{{fresh, old}, {old, fresh}} {
		both := ring(t, m, keyFile(t, secrets...))
		bodies = append(bodies, sealed(t, both, write("b"+secrets[0][:4], "not rotated yet")), sealed(t, serving, write("c"+secrets[0][:4], "elsewhere")))
	}
	if n, err := ring(t, m, keyFile(t, fresh, old)).Rotate(t.Context(), func() {}); err != nil || n != len(bodies) {
		t.Fatal(n, err)
	}
	for _, secrets := range [][]string{{fresh, old}, {old, fresh}} {
		bodies = append(bodies, sealed(t, ring(t, m, keyFile(t, secrets...)), write("d"+secrets[0][:4], "rotated")))
	}
	after := ring(t, m, keyFile(t, fresh))
	for _, body := range bodies {
		opened(t, after, body)
	}
}

func TestMasterSources(t *testing.T) {
	hexKey := strings.Repeat("0f", 32)
	for name, c := range map[string]struct {
		source keys.Source
		want   int
		bad    string
	}{
		"hex":              {keys.Source{MasterKey: hexKey}, 1, ""},
		"base64":           {keys.Source{MasterKey: keys.NewSecret()}, 1, ""},
		"file":             {keys.Source{MasterKey: keyFile(t, keys.NewSecret(), hexKey, "")}, 2, ""},
		"raw file":         {keys.Source{MasterKey: keyFile(t, strings.Repeat("\x01\xff", 16))}, 1, ""},
		"command":          {keys.Source{MasterKeyCommand: "echo " + hexKey}, 1, ""},
		"failing command":  {keys.Source{MasterKeyCommand: "echo " + hexKey + "; exit 3"}, 0, "exit status 3"},
		"none":             {keys.Source{}, 0, "there is no master key"},
		"empty file":       {keys.Source{MasterKey: keyFile(t, " \n")}, 0, "holds no key"},
		"too short":        {keys.Source{MasterKey: keyFile(t, "hunter2")}, 0, "key 1 is not 32 bytes"},
		"mistyped key":     {keys.Source{MasterKey: hexKey[2:]}, 0, "neither a file"},
		"no such file":     {keys.Source{MasterKey: "/nowhere/key"}, 0, "no such file"},
		"mistyped in file": {keys.Source{MasterKey: keyFile(t, hexKey, hexKey[1:])}, 0, "key 2 is not"},
	} {
		got, err := c.source.Load(t.Context())
		if c.bad == "" && (err != nil || len(got) != c.want) {
			t.Errorf("%s: %d keys, %v", name, len(got), err)
		}
		if c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad) || strings.Contains(err.Error(), "0f0f")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A path of a key file may have the form of a key: it is the file that counts, also where it is
// missing.
func TestPathLikeKey(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("keys", 0o700); err != nil {
		t.Fatal(err)
	}
	path := "keys/" + strings.Repeat("k", 38)
	source := keys.Source{MasterKey: path}
	if got, err := source.Load(t.Context()); err == nil || source.File() != path {
		t.Errorf("a missing file: %v, file %q", got, source.File())
	}
	key := keys.NewSecret()
	if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := (&keys.Source{MasterKey: key}).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := source.Load(t.Context()); err != nil || got[0].ID != want[0].ID || source.File() != path {
		t.Errorf("the file: %v, file %q", err, source.File())
	}
	for _, key := range []string{"/" + strings.Repeat("k", 42), "no/such/" + strings.Repeat("k", 35), strings.Repeat("k", 43)} {
		source := keys.Source{MasterKey: key}
		if _, err := source.Load(t.Context()); err != nil || source.File() != "" {
			t.Errorf("%s is a key: %v", key, err)
		}
	}
}

// A sealed content belongs to its event alone, and a store that does not answer makes
// no event an erased one.
func TestOpenRefuses(t *testing.T) {
	m, file := newMemory(), keyFile(t, keys.NewSecret())
	body := sealed(t, ring(t, m, file), write("a1", "value"))
	moved := bytes.Replace(body, []byte(`"version":1`), []byte(`"version":2`), 1)
	ev, err := events.Decode(moved)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring(t, m, file).Open(t.Context(), &ev); !errors.Is(err, events.ErrDamaged) {
		t.Errorf("a moved content: %v", err)
	}
	away := ring(t, m, file)
	m.fail = errors.New("no answer")
	ev, _ = events.Decode(body)
	if err := away.Open(t.Context(), &ev); err == nil || ev.Erased || !strings.Contains(err.Error(), "keys.unavailable") {
		t.Errorf("a store that is away: %v, erased %v", err, ev.Erased)
	}
	if err := (keys.Closed{}).Open(t.Context(), &ev); err == nil || !strings.Contains(err.Error(), "keys.missing") {
		t.Errorf("without keys: %v", err)
	}
}
