package commands_test

import (
	"fmt"
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

func TestACommandIDFromTheFuture(t *testing.T) {
	e := one(t)
	id := ulid.MustNew(ulid.Timestamp(time.Now().Add(time.Minute)), ulid.DefaultEntropy()).String()
	e.refused(id, "set", `{"key":"k","value":1}`, domain.Invalid, "command.id_future")
	e.count("k", 0, 0)
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
