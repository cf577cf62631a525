package durable_test

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

// outboxRows are commands in the outbox by id, and whether they concern agent a, its task
// t or its session s.
var outboxRows = []struct {
	id, subject, body string
	agent, owned      bool
}{
	{"o1", "agent.a.set", "v", true, false},
	{"o2", "commands.agent.a.set", "v", true, false},
	{"o3", "tm.commands.config.a.set", "v", true, false},
	{"o4", "message.a.direct", "v", true, false},
	{"o5", "agent.a", "v", true, false},
	{"o6", "commands.batch", `{"commands":[{"subject":"agent.a.set"}]}`, true, false},
	{"o7", "batch", `{"commands":[{"subject":"agent.b.set"}]}`, false, false},
	{"o8", "agent.ab.set", "v", false, false},
	{"o9", "agent.b.set", `{"key":"x.a.y"}`, false, false},
	{"task", "commands.task.t.complete", "v", false, true},
	{"session", "session.s.put", "v", false, true},
	{"claim", "claim.c.renew", "v", false, true},
	{"task2", "task.t2.complete", "v", false, false},
	{"reminder", "reminder.r.set", "v", false, true},
	{"reminder2", "commands.reminder.r2.set", `{"command":{"subject":"agent.a.set"}}`, true, false},
	{"reminder3", "reminder.r3.set", `{"command":{"subject":"agent.b.set"}}`, false, false},
}

func fillOutbox(t *testing.T, db *pg.DB, done time.Time) {
	t.Helper()
	for _, r := range outboxRows {
		_, err := db.Pool().Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body, done_at) VALUES ($1, $2, $3, $4)`, r.id, r.subject, r.body, done)
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range [][2]string{{"a", "b"}, {"b", "a"}, {"b", "c"}} {
		_, err := db.Pool().Exec(t.Context(), `INSERT INTO agents.messages (message_id, kind, sender, recipient, body, body_text, sequence, sent_at)
			VALUES ($1, 'direct', $2, $3, '1', '1', $4, $5)`, m[0]+m[1], m[0], m[1], i, done)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func left(t *testing.T, db *pg.DB, query string) []string {
	t.Helper()
	rows, err := db.Pool().Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func wantOutbox(t *testing.T, db *pg.DB, owned bool) {
	t.Helper()
	var want []string
	for _, r := range outboxRows {
		if !r.agent && !(owned && r.owned) {
			want = append(want, r.id)
		}
	}
	if got := left(t, db, `SELECT command_id FROM agents.outbox ORDER BY id`); !slices.Equal(got, want) {
		t.Errorf("the outbox has %v, want %v", got, want)
	}
	if got := left(t, db, `SELECT message_id FROM agents.messages`); !slices.Equal(got, []string{"bc"}) {
		t.Errorf("the messages are %v", got)
	}
}

func TestEraser(t *testing.T) {
	db := pgtest.Migrated(t)
	fillOutbox(t, db, pgtest.When)
	if err := durable.NewEraser(db).Agent(t.Context(), "a", 5, []string{"t"}, []string{"s"}, []string{"r"}, []string{"c"}); err != nil {
		t.Fatal(err)
	}
	wantOutbox(t, db, true)
}

// A database that was restored from a backup has the rows again. When the view reaches
// the erasure, they go again; what came later stays.
func TestErasedAgainAfterARestore(t *testing.T) {
	db := pgtest.Migrated(t)
	v, messages := durable.New(db, "durable"), durable.NewMessages(db, "messages")
	for _, view := range []projections.Target{v, messages} {
		if _, err := view.Load(t.Context(), 0, "j"); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Apply(t.Context(), 0, 0, 5, projections.Changes{Losses: []readmodel.Loss{loss(3)}}); err != nil {
		t.Fatal(err)
	}
	fillOutbox(t, db, pgtest.When)
	erased := &events.Record{Revision: 6, Name: events.Lifecycle("a"), Event: events.Event{
		Type: events.Erased, Aggregate: "agent", ID: "a", RecordedAt: pgtest.When.Add(time.Second),
	}}
	for view, from := range map[projections.Target]uint64{v: 5, messages: 0} {
		if err := view.Apply(t.Context(), 0, from, 6, projections.Changes{Events: []*events.Record{erased}}); err != nil {
			t.Fatal(err)
		}
	}
	wantOutbox(t, db, false)
	if n := pgtest.Count(t, db, "SELECT count(*) FROM agents.conflicts"); n != 0 {
		t.Errorf("%d conflicts are left", n)
	}
	_, err := db.Pool().Exec(t.Context(), `INSERT INTO agents.messages (message_id, kind, sender, recipient, body, body_text, sequence, sent_at)
		VALUES ('later', 'direct', 'a', 'b', '1', '1', 9, $1)`, pgtest.When.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	erased.Revision = 7
	if err := messages.Apply(t.Context(), 0, 6, 7, projections.Changes{Events: []*events.Record{erased}}); err != nil {
		t.Fatal(err)
	}
	if got := left(t, db, `SELECT message_id FROM agents.messages ORDER BY 1`); !slices.Equal(got, []string{"bc", "later"}) {
		t.Errorf("the messages are %v", got)
	}
}
