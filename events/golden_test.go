package events_test

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

var update = flag.Bool("update", false, "write the golden files")

// golden is one event of each type and schema. A file is never changed: what is
// stored must stay readable, and its digest the same.
var golden = map[string]events.Event{
	"agent.state_set.1": {
		Type: events.StateSet, Aggregate: "agent", ID: "agent-7", Key: "plan/step=2.next_A", Version: 18446744073709551615,
		Timestamp:  time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC),
		RecordedAt: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC), Writer: "w\u00e9 \"q\" \\ <\u2028>\n\u0001", CommandID: "01JGFJJZ00TESTTESTTESTTEST",
		Data: (&events.StateWrite{
			Value:    []byte(`{ "z" : 1.50, "a": [12345678901234567890, 1E+2, -0 ],` + "\n\t" + `"\u0041\/" : "\ud83d\ude00é" }`),
			Strategy: "timestamp", Request: "00112233445566778899aabbccddeeff",
		}).Encode(),
	},
	"agent.state_set.traced.1": {
		Type: events.StateSet, Aggregate: "agent", ID: "a", Key: "k", Version: 1, Timestamp: when, RecordedAt: when, Writer: "w", Actor: "alice", CommandID: "c",
		TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", TraceState: `tenant@vendor=a"b\c,k=v`,
		Data: (&events.StateWrite{Value: []byte(`1`), Strategy: "timestamp", Request: "00"}).Encode(),
	},
	"agent.state_set.forked.1": {
		Type: events.StateSet, Aggregate: "agent", ID: "a", Key: "k", Version: 1, Timestamp: when, RecordedAt: when.Add(1), CommandID: "c",
		Data: (&events.StateWrite{Value: []byte(`{ "n" : 1.50 }`), Strategy: "timestamp", Request: "00",
			Origin: []byte(`{"agent":"a0","partition":3,"revision":18446744073709551615,"at_time":"2026-03-04T05:06:07.000000089Z"}`)}).Encode(),
	},
	"agent.state_set.reverted.1": {
		Type: events.StateSet, Aggregate: "agent", ID: "a", Key: "k", Version: 4, Timestamp: when, RecordedAt: when.Add(1), CommandID: "c",
		Data: (&events.StateWrite{Value: []byte(`{ "n" : 1.50 }`), Strategy: "last_write_wins", Request: "00",
			Reverted: []byte(`{"version":2,"revision":18446744073709551615,"to_time":"2026-03-04T05:06:07.000000089Z","reason":"é"}`)}).Encode(),
	},
	"agent.state_set.sealed.1": {
		Type: events.StateSet, Aggregate: "agent", ID: "a", Key: "k", Version: 1, Timestamp: when, RecordedAt: when, CommandID: "c",
		Data: []byte(`{"sealed":"AAH+/w","sealed_key":"00ff"}`),
	},
	"task.completed.sealed.1": {
		Type: events.TaskCompleted, Aggregate: "task", ID: "t", Version: 3, Timestamp: when, RecordedAt: when, CommandID: "c",
		Data: []byte(`{"sealed":"AAH+/w","sealed_key":"00ff","sealed_for":"a"}`), State: []byte(`{"status":"completed","kind":"k"}`),
	},
	"agent.state_set.null.1": {
		Type: events.StateSet, Aggregate: "agent", ID: "a", Key: "k", Version: 1, Timestamp: time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC),
		RecordedAt: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), CommandID: "c",
		Data: (&events.StateWrite{Value: []byte(`null`), Strategy: "last_write_wins", Request: "00"}).Encode(),
	},
	"agent.state_deleted.1": {
		Type: events.StateDeleted, Aggregate: "agent", ID: "a", Key: "k", Version: 2,
		Timestamp: when, RecordedAt: when, Writer: "w", CommandID: "c2",
		Data: (&events.StateWrite{Strategy: "reject", Request: "01"}).Encode(),
	},
	"agent.state_superseded.1": {
		Type: events.StateSuperseded, Aggregate: "agent", ID: "a", Key: "k", Version: 1,
		Timestamp: when, RecordedAt: when, Writer: "w", CommandID: "c3",
		Data: (&events.StateLoss{
			Verb: "set", Value: []byte(`[ 1.0 ]`), Strategy: "timestamp", Request: "02", CurrentVersion: 2, CurrentRevision: 9,
		}).Encode(),
	},
	"message.sent.1": {
		Type: events.MessageSent, Aggregate: "message", ID: "a", Version: 2, Timestamp: when, RecordedAt: when, CommandID: "c",
		Data: (&events.MessageSend{Kind: "direct", To: "b", Body: []byte(`{ "n" : 1.50, "s": "\u0041\/" }`), Request: "00"}).Encode(),
	},
	"agent.state_rejected.1": {
		Type: events.StateRejected, Aggregate: "agent", ID: "a", Key: "k", Version: 2,
		Timestamp: when, RecordedAt: when, Writer: "w", CommandID: "c4",
		Data: (&events.StateLoss{
			Verb: "delete", Strategy: "reject", Request: "03", Reason: "state.conflict", Message: "expected version 1 of a.k, it is 2",
			CurrentVersion: 2, CurrentRevision: 9,
		}).Encode(),
	},
}

const previous = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestGolden(t *testing.T) {
	for name, ev := range golden {
		t.Run(name, func(t *testing.T) {
			ev.Schema = 1
			var err error
			if ev.Digest, err = events.Chain(previous, &ev); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, ev.Encode(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			stored, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := ev.Encode(); string(got) != string(stored) {
				t.Errorf("encodes as\n%s\nwas\n%s", got, stored)
			}
			got, err := events.Decode(stored)
			if err != nil || !reflect.DeepEqual(got, ev) {
				t.Errorf("decodes as\n%+v, %v\nwas\n%+v", got, err, ev)
			}
			if got := chained(t, previous, stored); got != ev.Digest {
				t.Errorf("the digest in the file is %s, computed %s", ev.Digest, got)
			}
		})
	}
}

func TestNoGoldenFileIsForgotten(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < len(golden) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := events.Decode(body); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
