package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// madeUp is a journal with a schema before the first: what is now "value" was
// "val", and a task said "agent" where it now says "agent_id", in its state too.
// It shows that the mechanism carries, while there is nothing else to carry.
var madeUp = upcaster{first: -1, steps: []func(*Event) error{
	func(ev *Event) error {
		if ev.Type == StateSet {
			ev.Data = rename(ev.Data, "val", "value")
		}
		return nil
	},
	func(ev *Event) error {
		if ev.Type == TaskStarted {
			ev.Data, ev.State = rename(ev.Data, "agent", "agent_id"), rename(ev.State, "agent", "agent_id")
		}
		if ev.Type == "agent.impossible" {
			return errors.New("nothing can be made of it")
		}
		return nil
	},
}}

func rename(v jsontext.Value, from, to string) jsontext.Value {
	return jsontext.Value(bytes.ReplaceAll(v, []byte(`"`+from+`":`), []byte(`"`+to+`":`)))
}

// Each golden file of an old schema has another beside it: what this build
// reads it as.
func TestOldSchemasAreReadAsTheNewest(t *testing.T) {
	files, err := filepath.Glob("testdata/upcast/*.stored.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		stored, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		read, err := os.ReadFile(strings.TrimSuffix(file, ".stored.json") + ".read.json")
		if err != nil {
			t.Fatal(err)
		}
		ev, err := madeUp.decode(stored)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		want, err := Decode(read)
		if err != nil {
			t.Fatal(err)
		}
		plain := ev
		plain.stored = nil
		if !reflect.DeepEqual(plain, want) {
			t.Errorf("%s is read as\n%+v, want\n%+v", file, plain, want)
		}
		if !bytes.Equal(ev.Encode(), stored) {
			t.Errorf("%s is handed on as\n%s, stored is\n%s", file, ev.Encode(), stored)
		}
		if ev.Stored().Schema >= Schema || ev.Schema != Schema {
			t.Errorf("%s: schema %d, stored %d", file, ev.Schema, ev.Stored().Schema)
		}
	}
}

// The chain is of the stored forms: what was written before a step existed
// still proves itself, and the next event follows it.
func TestADigestIsOfTheStoredForm(t *testing.T) {
	last := ""
	for i, body := range []string{
		`{"type":"agent.state_set","aggregate":"agent","id":"a","key":"k","version":%d,"timestamp":"2026-01-02T03:04:05Z","recorded_at":"2026-01-02T03:04:05Z","writer":"","command_id":"c","data":{"val":1},"schema":-1`,
		`{"type":"agent.state_set","aggregate":"agent","id":"a","key":"k","version":%d,"timestamp":"2026-01-02T03:04:05Z","recorded_at":"2026-01-02T03:04:05Z","writer":"","command_id":"c","data":{"value":2},"schema":0`,
		`{"type":"agent.state_set","aggregate":"agent","id":"a","key":"k","version":%d,"timestamp":"2026-01-02T03:04:05Z","recorded_at":"2026-01-02T03:04:05Z","writer":"","command_id":"c","data":{"value":3},"schema":1`,
	} {
		body = fmt.Sprintf(body, i+1)
		canonical := jsontext.Value(body + "}")
		if err := canonical.Canonicalize(); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(append([]byte(last), canonical...))
		digest := hex.EncodeToString(sum[:])
		ev, err := madeUp.decode([]byte(body + `,"digest":"` + digest + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Chain(last, &ev); err != nil || got != digest {
			t.Errorf("schema %d: the digest is %s, the stored one %s, %v", i-1, got, digest, err)
		}
		if d, err := DecodeStateWrite(ev.Data); err != nil || string(d.Value) != strconv.Itoa(i+1) {
			t.Errorf("schema %d: %+v, %v", i-1, d, err)
		}
		last = digest
	}
}

func TestWhatNoStepLeadsFrom(t *testing.T) {
	body := `{"type":%q,"aggregate":"agent","id":"a","key":"k","version":1,"timestamp":"2026-01-02T03:04:05Z","recorded_at":"2026-01-02T03:04:05Z","writer":"","command_id":"c","data":{},"digest":"d","schema":%d}`
	for _, c := range []struct {
		typ    string
		schema int
		newer  bool
		says   string
	}{
		{StateSet, 2, true, "schema 2 is not known here (up to 1)"},
		{StateSet, -2, false, "there is no schema -2"},
		{"agent.impossible", 0, false, "read schema 0 as 1: nothing can be made of it"},
	} {
		_, err := madeUp.decode(fmt.Appendf(nil, body, c.typ, c.schema))
		if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, ErrNewer) != c.newer {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Every schema ever shipped can be read: there is a step from each to the next,
// and of every one there are golden files, none of which has changed since.
func TestEverySchemaShippedIsRead(t *testing.T) {
	if shipped.newest() != Schema {
		t.Errorf("steps lead to schema %d, this build writes %d", shipped.newest(), Schema)
	}
	sums, err := os.ReadFile("testdata/shipped.sha256")
	if err != nil {
		t.Fatal(err)
	}
	read := map[int]int{}
	var names []string
	for line := range strings.Lines(string(sums)) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			t.Fatalf("%q", line)
		}
		names = append(names, name)
		body, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if got := sha256.Sum256(body); hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s was changed: what is stored in journals was not", name)
		}
		ev, err := Decode(body)
		if err != nil || ev.Schema != Schema || !bytes.Equal(ev.Encode(), body) {
			t.Errorf("%s: schema %d, %v", name, ev.Schema, err)
		}
		read[ev.Stored().Schema]++
	}
	for schema := shipped.first; schema <= Schema; schema++ {
		if read[schema] == 0 {
			t.Errorf("no golden file is of schema %d", schema)
		}
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !slices.Contains(names, filepath.Base(file)) {
			t.Errorf("%s is not in testdata/shipped.sha256", file)
		}
	}
}
