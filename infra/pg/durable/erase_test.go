package durable_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/test/harness"
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
	{"create", "commands.task.t9.create", `{"agent_id":"a"}`, true, false},
	{"escaped", "session.s9.open", `{"owner":"\u0061"}`, true, false},
	{"to", "message.b.direct", `{"to":"a","body":"v"}`, true, false},
	{"fork", "agent.b.fork", `{"from":"a"}`, true, false},
	{"no JSON", "agent.b.set", `{"key":"k","value":"a`, true, false},
	{"batch of its task", "batch", `{"commands":[{"subject":"task.t.cancel"}]}`, false, true},
	{"batch with its name in a value", "batch", `{"commands":[{"subject":"agent.b.set","body":{"key":"k","value":".a."}}]}`, false, false},
	{"reminder with its name in a value", "reminder.r4.set", `{"command":{"subject":"agent.b.set","body":{"key":"k","value":".a."}}}`, false, false},
	{"too large", "task.t9.create", `{"agent_id":"a","payload":"` + strings.Repeat("v", 5<<20) + `"}`, true, false},
	{"too large, of another", "task.t9.create", `{"payload":"` + strings.Repeat("v", 5<<20) + `"}`, false, false},
	{"named like it", "task.a.create", `{"kind":"k"}`, false, false},
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

func wantOutbox(t *testing.T, db *pg.DB, more ...string) {
	t.Helper()
	var want []string
	for _, r := range outboxRows {
		if !r.agent && !r.owned {
			want = append(want, r.id)
		}
	}
	want = append(want, more...)
	if got := left(t, db, `SELECT command_id FROM agents.outbox ORDER BY id`); !slices.Equal(got, want) {
		t.Errorf("the outbox has %v, want %v", got, want)
	}
	if got := left(t, db, `SELECT message_id FROM agents.messages`); !slices.Equal(got, []string{"bc"}) {
		t.Errorf("the messages are %v", got)
	}
}

// erasedAt is the event that agent a was erased.
func erasedAt(revision uint64) *events.Record {
	return &events.Record{Revision: revision, Name: events.Lifecycle("a"), Event: events.Event{
		Type: events.Erased, Aggregate: "agent", ID: "a", RecordedAt: pgtest.When.Add(time.Second),
	}}
}

// TestErasureLeavesLivingRows: what was written while an erasure was under way, with another
// key, stays when the views reach its event, and when the read models are cleaned.
func TestErasureLeavesLivingRows(t *testing.T) {
	db := pgtest.Migrated(t)
	living := func(context.Context, *events.Record) ([]int64, error) { return []int64{4}, nil }
	v, messages := durable.New(db, "durable"), durable.NewMessages(db, "messages", living)
	v.Living = living
	for _, view := range []projections.Target{v, messages} {
		if _, err := view.Load(t.Context(), 0, "j"); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		for _, query := range []string{
			`SELECT revision::text FROM agents.conflicts ORDER BY revision`,
			`SELECT revision::text FROM agents.state ORDER BY revision`,
			`SELECT sequence::text FROM agents.messages ORDER BY sequence`,
		} {
			want := []string{"4", "7"}
			if strings.Contains(query, "agents.state") && when == "in the views" { // their rows go by the events that delete the entries
				want = []string{"3", "4", "7"}
			}
			if got := left(t, db, query); !slices.Equal(got, want) {
				t.Errorf("%s: %s is %v, want %v", when, query, got, want)
			}
		}
	}
	for _, n := range []int{3, 4, 7} {
		for _, sql := range []string{
			`INSERT INTO agents.messages (message_id, kind, sender, recipient, body, body_text, sequence, sent_at, digest) VALUES ('m' || $1::int, 'direct', 'a', 'b', '1', '1', $1::int, $2, 'd')`,
			`INSERT INTO agents.state (agent_id, state_key, state_value, state_text, version, revision, writer, timestamp, updated_at, digest) VALUES ('a', 'k' || $1::int, '1', '1', 1, $1::int, '', $2, $2, 'd')`,
		} {
			if _, err := db.Pool().Exec(t.Context(), sql, n, pgtest.When); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := v.Apply(t.Context(), 0, 0, 5, projections.Changes{Losses: []readmodel.Loss{loss(3), loss(4), loss(7)}}); err != nil {
		t.Fatal(err)
	}
	for view, from := range map[projections.Target]uint64{v: 5, messages: 0} {
		if err := view.Apply(t.Context(), 0, from, 6, projections.Changes{Events: []*events.Record{erasedAt(6)}}); err != nil {
			t.Fatal(err)
		}
	}
	check("in the views")
	if err := durable.NewEraser(db).Agent(t.Context(), erasedAt(6), []int64{4}, nil); err != nil {
		t.Fatal(err)
	}
	check("after the cleaning")
}

func TestEraser(t *testing.T) {
	db := pgtest.Migrated(t)
	fillOutbox(t, db, pgtest.When)
	if _, err := db.Pool().Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body, done_at, outcome) VALUES
		('erased by', 'agent.a.erase', '{"reason":"r"}', now(), '{"erasure":{"complete":false}}')`); err != nil {
		t.Fatal(err)
	}
	if err := durable.NewEraser(db).Agent(t.Context(), erasedAt(5), nil, map[string][]string{"task": {"t"}, "session": {"s"}, "reminder": {"r"}, "claim": {"c"}}); err != nil {
		t.Fatal(err)
	}
	wantOutbox(t, db, "erased by")
}

// A database that was restored from a backup has the rows again. When the view reaches
// the erasure, they go again; what came later stays.
func TestErasedAgainAfterARestore(t *testing.T) {
	db := pgtest.Migrated(t)
	v, messages := durable.New(db, "durable"), durable.NewMessages(db, "messages", nil)
	for _, view := range []projections.Target{v, messages} {
		if _, err := view.Load(t.Context(), 0, "j"); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Apply(t.Context(), 0, 0, 5, projections.Changes{Losses: []readmodel.Loss{loss(3)}}); err != nil {
		t.Fatal(err)
	}
	fillOutbox(t, db, pgtest.When)
	if _, err := db.Pool().Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body, done_at) VALUES
		('later', 'agent.a.set', 'v', $1), ('later task', 'task.t.cancel', 'v', $1), ('never', 'agent.b.set', '{"to":"b"}', 'infinity'), ('waits', 'agent.a.set', 'v', NULL)`, pgtest.When.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	erased := erasedAt(6)
	all := []*events.Record{erased}
	for typ, name := range map[string]events.AggregateName{events.TaskErased: events.Task("t"), events.SessionErased: events.Session("s"), events.ReminderErased: events.Reminder("r"), events.ClaimErased: events.Claim("c")} {
		aggregate, id, _ := strings.Cut(string(name), ".")
		all = append(all, &events.Record{Revision: 6, Name: name, Event: events.Event{Type: typ, Aggregate: aggregate, ID: id, RecordedAt: erased.RecordedAt}})
	}
	if err := v.Apply(t.Context(), 0, 5, 6, projections.Changes{Events: all}); err != nil {
		t.Fatal(err)
	}
	if err := messages.Apply(t.Context(), 0, 0, 6, projections.Changes{Events: []*events.Record{erased}}); err != nil {
		t.Fatal(err)
	}
	wantOutbox(t, db, "later", "later task", "never", "waits")
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

// No statistics hold a value, neither of columns nor of what an earlier build has analyzed.
func TestNoStatistics(t *testing.T) {
	db := pgtest.Migrated(t)
	exec := func(sql string) {
		t.Helper()
		if _, err := db.Pool().Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	columns := []string{
		"state.state_value", "state.state_text", "config.config_value", "config.state_text", "conflicts.state_text", "tasks.payload", "tasks.result",
		"tasks.reason", "tasks.detail", "tasks.state_text", "sessions.data", "sessions.state_text", "claims.data", "claims.state_text",
		"reminders.state_text", "messages.body", "messages.body_text", "outbox.body", "outbox.outcome",
	}
	statistics := func() int {
		return pgtest.Count(t, db, `SELECT count(*) FROM pg_stats WHERE schemaname = 'agents' AND tablename || '.' || attname = ANY ('{`+strings.Join(columns, ",")+`}')`)
	}
	rows := func() {
		exec(`INSERT INTO agents.outbox (command_id, subject, body, done_at, outcome)
			SELECT 'c' || n, 'agent.a.append', '{"items":["MARKER"]}', now(), '{"value":["MARKER"]}' FROM generate_series(1, 100) AS n`)
		exec(`INSERT INTO agents.state (agent_id, state_key, state_value, state_text, version, revision, writer, timestamp, updated_at, digest)
			SELECT 'a', 'k' || gen_random_uuid(), '"MARKER"', '"MARKER"', 1, 1, '', now(), now(), '' FROM generate_series(1, 100) AS n`)
		exec(`ANALYZE`)
	}
	if rows(); statistics() != 0 {
		t.Error("values are in the statistics")
	}
	for _, c := range columns { // as an earlier build has them
		table, column, _ := strings.Cut(c, ".")
		exec(`ALTER TABLE agents.` + table + ` ALTER COLUMN ` + column + ` SET STATISTICS -1`)
	}
	exec(`DELETE FROM agents.tidemark_schema WHERE version_id >= 22`)
	if rows(); statistics() != 4 {
		t.Fatalf("an earlier build has %d statistics", statistics())
	}
	exec(`CREATE VIEW shown AS SELECT outcome FROM agents.outbox`) // which keeps its statistics
	if err := db.Migrate(t.Context(), harness.Log(t)); err != nil {
		t.Fatal(err)
	}
	if n := statistics(); n != 1 {
		t.Errorf("%d statistics of an earlier build are left", n)
	}
	if rows(); statistics() != 1 {
		t.Error("values are in the statistics")
	}
}
