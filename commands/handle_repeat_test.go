package commands_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/commandstest"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/test/journaltest"
)

// repeats runs a test with each kind of command id whose repetition must be
// recognised: by the duplicate window, and by a search.
func repeats(t *testing.T, test func(t *testing.T, e *engine, id func() string)) {
	t.Run("young ULID", func(t *testing.T) { test(t, one(t), youngID) })
	t.Run("young ULID, four partitions", func(t *testing.T) {
		test(t, newEngine(t, journaltest.History(t, 4), commands.Config{}), youngID)
	})
	t.Run("young UUIDv7", func(t *testing.T) {
		test(t, one(t), func() string { return uuid.Must(uuid.NewV7()).String() })
	})
	var n atomic.Int64
	t.Run("untimed", func(t *testing.T) {
		test(t, one(t), func() string { return fmt.Sprintf("command-%d", n.Add(1)) })
	})
	t.Run("old ULID, without the window", func(t *testing.T) {
		test(t, newEngine(t, &commandstest.Windowless{Journal: journaltest.History(t, 1)}, commands.Config{}), oldID)
	})
	t.Run("old UUIDv7, without the window", func(t *testing.T) {
		test(t, newEngine(t, &commandstest.Windowless{Journal: journaltest.History(t, 4)}, commands.Config{}), func() string {
			id := uuid.Must(uuid.NewV7())
			ms := time.Now().Add(-48 * time.Hour).UnixMilli()
			for i := range 6 {
				id[i] = byte(ms >> (40 - 8*i))
			}
			return id.String()
		})
	})
	t.Run("the oldest ULID, without the window", func(t *testing.T) {
		test(t, newEngine(t, &commandstest.Windowless{Journal: journaltest.History(t, 1)}, commands.Config{}), func() string {
			return ulid.MustNew(0, ulid.DefaultEntropy()).String()
		})
	})
	t.Run("a restarted engine", func(t *testing.T) {
		journal := journaltest.History(t, 1)
		e := newEngine(t, journal, commands.Config{})
		test(t, e, func() string {
			e.Close() // its cached heads are gone
			e.Handler = commands.NewHandler(journal, commands.Config{})
			t.Cleanup(e.Handler.Close)
			return youngID()
		})
	})
}

func TestTheSameCommandAgainIsReplayed(t *testing.T) {
	repeats(t, func(t *testing.T, e *engine, id func() string) {
		body := `{"key":"k","value":1.50,"strategy":"last_write_wins"}`
		set := id()
		first := e.accepted(set, "set", body)
		e.replays(set, "set", body, first)
		e.replays(set, "set", body, first)
		e.accepted(id(), "set", `{"key":"k","value":2,"strategy":"last_write_wins"}`)
		e.replays(set, "set", body, first)
		e.count("k", 2, 0)
	})
}

func TestTheSameCommandAgainAfterADeletion(t *testing.T) {
	repeats(t, func(t *testing.T, e *engine, id func() string) {
		set, gone := id(), id()
		setBody, deleteBody := `{"key":"k","value":1,"strategy":"reject"}`, `{"key":"k","expected_version":1}`
		first := e.accepted(set, "set", setBody)
		deletion := e.accepted(gone, "delete", deleteBody)
		e.replays(set, "set", setBody, first)
		e.replays(gone, "delete", deleteBody, deletion)
		e.count("k", 2, 0)
		e.accepted(id(), "set", setBody)
		e.replays(gone, "delete", deleteBody, deletion)
		e.count("k", 3, 0)
	})
}

func TestTheSameLosingCommandAgain(t *testing.T) {
	repeats(t, func(t *testing.T, e *engine, id func() string) {
		e.accepted(id(), "set", `{"key":"k","value":1}`)
		older, late := id(), `{"key":"k","value":2,"timestamp":"2001-01-01T00:00:00Z"}`
		first, err := e.do(older, "set", late)
		if err != nil || first.Outcome != domain.Superseded || first.Replayed {
			t.Fatalf("%+v, %v", first, err)
		}
		rejected, expecting := id(), `{"key":"k","value":3,"expected_version":7}`
		refusal := e.refused(rejected, "set", expecting, domain.Conflict, "state.conflict")
		e.count("k", 1, 2)
		for range 2 {
			e.replays(older, "set", late, first)
			again := e.refused(rejected, "set", expecting, domain.Conflict, "state.conflict")
			if again.Message != refusal.Message || again.Details["version"] != refusal.Details["version"] ||
				again.Details["revision"] != refusal.Details["revision"] {
				t.Errorf("refused with %+v, first with %+v", again, refusal)
			}
			e.accepted(id(), "set", `{"key":"k","value":4}`)
		}
		e.count("k", 3, 2)
	})
}

func TestACommandIDAsksOneThing(t *testing.T) {
	repeats(t, func(t *testing.T, e *engine, id func() string) {
		used, lost := id(), id()
		e.accepted(used, "set", `{"key":"k","value":1}`)
		e.refused(lost, "set", `{"key":"k","value":1,"expected_version":9}`, domain.Conflict, "state.conflict")
		for body, verb := range map[string]string{
			`{"key":"k","value":2}`: "set", `{"key":"k","value":1.0}`: "set", `{"key":"k","value":1,"writer":"w"}`: "set",
			`{"key":"k","value":1,"expected_version":0}`: "set", `{"key":"k","value":1,"expected_version":1}`: "set",
			`{"key":"k","value":1,"timestamp":"2001-01-01T00:00:00Z"}`: "set", `{"key":"k","value":1,"strategy":"timestamp"}`: "set",
			`{"key":"k"}`: "delete",
		} {
			e.refused(used, verb, body, domain.Conflict, "command.id_reused")
			e.refused(lost, verb, body, domain.Conflict, "command.id_reused")
		}
		e.count("k", 1, 1)
		if r := e.accepted(used, "set", `{"key":"k2","value":2}`); r.Version != 1 {
			t.Errorf("on another aggregate: %+v", r)
		}
	})
}

// TestIDsThatOnlyLookTimedAreOrdinaryIDs: 13 random bytes in hex, ids of a clock that
// is wrong, spellings that are not canonical.
func TestIDsThatOnlyLookTimedAreOrdinaryIDs(t *testing.T) {
	e := one(t)
	ids := []string{
		ulid.MustNew(ulid.Timestamp(time.Now().Add(time.Hour)), ulid.DefaultEntropy()).String(),
		strings.ToLower(youngID()), strings.ToLower(oldID()), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "ffffffff-ffff-7fff-bfff-ffffffffffff",
	}
	for range 30 {
		var id [13]byte
		_, _ = rand.Read(id[:]) // never fails
		ids = append(ids, hex.EncodeToString(id[:]), strings.ToUpper(hex.EncodeToString(id[:])))
	}
	for i, id := range ids {
		body := fmt.Sprintf(`{"key":"k%d","value":1}`, i)
		first := e.accepted(id, "set", body)
		e.accepted("", "set", fmt.Sprintf(`{"key":"k%d","value":2}`, i))
		e.replays(id, "set", body, first)
	}
}

// TestBodiesAreComparedAsJSON: white space, the order of members and the spelling of
// strings do not make another request of a repeated command.
func TestBodiesAreComparedAsJSON(t *testing.T) {
	e := one(t)
	for _, c := range []struct{ aggregate, verb, body, same, other string }{
		{"agent", "set", `{"key":"k","value":{"a":[1,"A"],"b":null}}`, ` {"value": { "b":null ,"a":[ 1, "\u0041" ] },"key":"k"}`, `{"key":"k","value":{"a":[1,"A"],"b":0}}`},
		{"config", "set", `{"key":"k","value":{"a":1,"b":2}}`, `{"value":{"b":2,"a":1},"key":"\u006b"}`, `{"key":"k","value":{"a":2,"b":1}}`},
		{"task", "create", `{"kind":"x","payload":{"a":1,"b":2}}`, `{"payload":{"b":2,"a":1},"kind":"x"}`, `{"kind":"x","payload":{"a":1}}`},
		{"session", "open", `{"owner":"o","ttl":60}`, ` {"ttl":60 ,"owner":"o"}`, `{"owner":"o","ttl":61}`},
	} {
		send := func(body string) (commands.Receipt, error) {
			return e.Send(t.Context(), commands.Request{Aggregate: c.aggregate, ID: "x", Verb: c.verb, CommandID: "id", Body: []byte(body)})
		}
		first, err := send(c.body)
		if err != nil {
			t.Fatal(err)
		}
		first.Replayed = true
		if again, err := send(c.same); err != nil || again != first {
			t.Errorf("%s %s again: %+v, %v", c.aggregate, c.same, again, err)
		}
		var known *domain.Error
		if again, err := send(c.other); !errors.As(err, &known) || known.Code != "command.id_reused" {
			t.Errorf("%s %s under the same id: %+v, %v", c.aggregate, c.other, again, err)
		}
	}
}

// TestARepeatedCommandIsRecognisedBeforeTimesAreChecked: its deadline has passed
// since, or the clock was set back behind its timestamp.
func TestARepeatedCommandIsRecognisedBeforeTimesAreChecked(t *testing.T) {
	clock := time.Now().UTC()
	e := newEngine(t, journaltest.History(t, 1), commands.Config{Now: func() time.Time { return clock }})
	deadline := clock.Add(10 * time.Second).Format(time.RFC3339Nano)
	create := commands.Request{
		Aggregate: "task", ID: "t1", Verb: "create", CommandID: "c1", Body: []byte(`{"kind":"k","deadline":"` + deadline + `"}`),
	}
	first, err := e.Send(t.Context(), create)
	if err != nil {
		t.Fatal(err)
	}
	stamped := `{"key":"k","value":1,"timestamp":"` + clock.Add(time.Second).Format(time.RFC3339Nano) + `"}`
	set := e.accepted("c2", "set", stamped)
	for _, step := range []time.Duration{20 * time.Second, -time.Hour} {
		clock = clock.Add(step)
		first.Replayed = true
		if again, err := e.Send(t.Context(), create); err != nil || again != first {
			t.Errorf("after %s: %+v, %v", step, again, err)
		}
		e.replays("c2", "set", stamped, set)
	}
	create.ID, create.CommandID = "t2", "c3"
	clock = clock.Add(2 * time.Hour)
	var known *domain.Error
	if _, err := e.Send(t.Context(), create); !errors.As(err, &known) || known.Code != "deadline.past" {
		t.Errorf("a new task with a deadline that has passed: %v", err)
	}
}

// A refused deletion leaves no event, so the same id may be used again.
func TestARefusalWithoutAnEventIsDecidedAgain(t *testing.T) {
	e := one(t)
	id := youngID()
	e.refused(id, "delete", `{"key":"k"}`, domain.NotFound, "state.not_found")
	e.accepted(youngID(), "set", `{"key":"k","value":1}`)
	e.accepted(id, "delete", `{"key":"k"}`)
	e.refused(youngID(), "delete", `{"key":"k"}`, domain.NotFound, "state.not_found")
}
