package declared_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg/declared"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/readmodel"
	folds "github.com/tidemark-engine/tidemark/readmodel/declared"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/pgtest"
)

const columns = `"columns":{"city":{"path":"/value/city","type":"text"},"total":{"path":"/value/total","type":"numeric"},` +
	`"ok":{"path":"/value/ok","type":"boolean"},"at":{"path":"/value/at","type":"timestamptz"},"more":{"path":"/value/more","type":"jsonb"}}`

func define(t testing.TB, name, rest string) view.Definition {
	t.Helper()
	d, err := view.Parse(name, []byte(`{"from":"state",`+columns+rest+`}`))
	harness.Must(t, err)
	return d
}

// built makes a generation of a definition for one partition.
func built(t testing.TB, s *declared.Store, d view.Definition) declared.Generation {
	t.Helper()
	if err := s.Create(t.Context(), d, "j", []uint64{0}, false); err != nil {
		t.Fatalf("create: %v", err)
	}
	gs, err := s.All(t.Context())
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	for _, g := range gs {
		if g.View == d.Name && !g.Live {
			return g
		}
	}
	t.Fatalf("no generation of %s in %+v", d.Name, gs)
	return declared.Generation{}
}

// swapped makes it the live one.
func swapped(t testing.TB, s *declared.Store, g declared.Generation) declared.Generation {
	t.Helper()
	done, err := s.Swap(t.Context(), &g)
	if err != nil || !done {
		t.Fatalf("swap: %v, %v", done, err)
	}
	live, err := s.Live(t.Context(), g.View)
	if err != nil || live == nil || live.ID != g.ID || live.Broken {
		t.Fatalf("live: %+v, %v", live, err)
	}
	return *live
}

// value is JSON that fits the columns, or does not.
func value(random *rand.Rand) []byte {
	member := func(name string, of ...string) string { return `"` + name + `":` + of[random.IntN(len(of))] }
	return []byte("{" + member("city", `"Rome"`, `"Oslo"`, `"Ρώμη"`, `null`, `7`, `""`) + "," +
		member("total", `0.1`, `1.50`, `1.5`, `-2e3`, `12345678901234567890.5`, `"1"`, `null`, `1e-30`, `-0`) + "," +
		member("ok", `true`, `false`, `"true"`) + "," + member("at", `"2026-01-02T03:04:05.1234567+01:00"`, `"2026-01-02T02:04:05Z"`, `"never"`, `1`) + "," +
		member("more", `{"b":1.0,"a":[1,2]}`, `{"a":[1,2.0],"b":1}`, `null`, `"x"`, `[ ]`) + "}")
}

// TestRowsEqualARecount applies random batches of sets, moves between groups and deletions:
// the rows of views of all kinds equal those that are counted again from the entries.
func TestRowsEqualARecount(t *testing.T) {
	db := pgtest.Migrated(t)
	s := declared.NewStore(db)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	type one struct {
		*declared.Target
		*folds.Fold
		recount *folds.Recount
	}
	var views []one
	for i, rest := range []string{``, `,"into":["sql","kv"]`,
		`,"group":{"by":["city"],"count":true,"sum":["total"]}`, `,"group":{"by":["total","ok","at","more"],"sum":["total"]},"into":["kv"]`, `,"group":{"count":true}`} {
		fold := folds.New(define(t, fmt.Sprintf("v-%d", i), rest))
		views = append(views, one{declared.NewTarget(db, swapped(t, s, built(t, s, fold.Definition))), fold, folds.NewRecount(fold)})
	}
	for position := range uint64(60) {
		var c projections.Changes
		for key := range 1 + random.IntN(12) {
			e := readmodel.EntryChange{Entry: readmodel.Entry{Agent: "a", Key: fmt.Sprint("k", key), Version: 1, Revision: position + 1}}
			if e.Deleted = random.IntN(3) == 0; !e.Deleted {
				e.Value = value(random)
			}
			c.Entries = append(c.Entries, e)
		}
		for _, v := range views {
			harness.Must(t, v.Apply(t.Context(), 0, position, position+1, c))
			for j := range c.Entries {
				v.recount.Add(v.Entry(&c.Entries[j]))
			}
			shot, ok, err := s.Snapshot(t.Context(), v.Name)
			if err != nil || !ok || shot.Positions[0] != position+1 {
				t.Fatalf("view %s: %+v, %v, %v", v.Name, shot.Positions, ok, err)
			}
			if wrong := v.recount.Compare(shot.Rows); len(wrong) > 0 {
				t.Fatalf("view %s, batch %d: %+v", v.Name, position, wrong)
			}
		}
	}
}

func TestGenerations(t *testing.T) {
	db := pgtest.Migrated(t)
	pgtest.HoldLock(t, db, 0x7469646576696577) // the engine goes on
	s := declared.NewStore(db)
	entry := func(revision uint64, city string) projections.Changes {
		return projections.Changes{Entries: []readmodel.EntryChange{{Entry: readmodel.Entry{
			Agent: "a", Key: "k", Value: []byte(`{"city":"` + city + `"}`), Version: 1, Revision: revision}}}}
	}
	row := func(want string) {
		t.Helper()
		var d view.Definition
		if g, err := s.Live(t.Context(), "v"); err == nil && g != nil {
			d = g.Definition
		}
		got, known, err := s.Row(t.Context(), d, "a.k")
		if err != nil || !known || string(got) != want {
			t.Errorf("the row is %s, %v, %v; want %s", got, known, err, want)
		}
	}
	d := define(t, "v", ``)
	if _, known, err := s.Row(t.Context(), d, "a.k"); known || err != nil {
		t.Errorf("a view that is built: %v, %v", known, err)
	}
	first := swapped(t, s, built(t, s, d))
	old := declared.NewTarget(db, first)
	harness.Must(t, old.Apply(t.Context(), 0, 0, 5, entry(5, "Rome")))
	const rest = `,"more":null,"ok":null,"total":null}`
	row(`{"key":"a.k","at":null,"city":"Rome"` + rest)
	for from, want := range map[uint64]error{4: projections.ErrFenced, 6: projections.ErrFenced} {
		if err := old.Apply(t.Context(), 0, from, 7, entry(7, "Oslo")); !errors.Is(err, want) {
			t.Errorf("from %d: %v", from, err)
		}
	}
	if _, err := old.Load(t.Context(), 0, "other"); !errors.Is(err, history.ErrForeignJournal) {
		t.Errorf("another journal: %v", err)
	}

	changed, err := view.Parse("v", []byte(`{"from":"state","columns":{"town":{"path":"/value/city","type":"text"}},"into":["kv"]}`))
	harness.Must(t, err)
	dropped := declared.NewTarget(db, built(t, s, define(t, "v", `,"group":{"count":true}`)))
	next := built(t, s, changed) // in the place of the one before
	if _, err := dropped.Load(t.Context(), 0, "j"); !errors.Is(err, declared.ErrReplaced) {
		t.Errorf("a generation that was dropped loads: %v", err)
	}
	target := declared.NewTarget(db, next)
	harness.Must(t, target.Apply(t.Context(), 0, 0, 3, entry(3, "Lima")))
	if done, err := s.Swap(t.Context(), &next); done || err != nil {
		t.Errorf("a generation at 3 replaces one at 5: %v, %v", done, err)
	}
	row(`{"key":"a.k","at":null,"city":"Rome"` + rest)
	harness.Must(t, target.Apply(t.Context(), 0, 3, 5, entry(5, "Rome")))
	live := swapped(t, s, next)
	row(`{"key":"a.k","town":"Rome"}`)
	if err := old.Apply(t.Context(), 0, 5, 6, entry(6, "Oslo")); err == nil {
		t.Error("the generation before writes")
	}
	if _, err := target.Load(t.Context(), 0, "j"); !errors.Is(err, declared.ErrReplaced) {
		t.Errorf("the target of the generation that was built loads: %v", err)
	}
	pending, err := s.Pending(t.Context(), "v", 10)
	if err != nil || len(pending) != 1 || pending[0].Key != "a.k" {
		t.Errorf("the bucket lacks %+v, %v", pending, err)
	}
	harness.Must(t, declared.NewTarget(db, live).Apply(t.Context(), 0, 5, 6, entry(6, "Oslo")))
	harness.Must(t, s.Written(t.Context(), "v", pending))
	if pending, err = s.Pending(t.Context(), "v", 10); err != nil || len(pending) != 1 {
		t.Errorf("a change while the bucket was written is lost: %+v, %v", pending, err)
	}
	harness.Must(t, s.Remove(t.Context(), "v"))
	if n := pgtest.Count(t, db, `SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'view\_v%') + (SELECT count(*) FROM agents.checkpoints)
		+ (SELECT count(*) FROM agents.declared_generations) + (SELECT count(*) FROM agents.declared_pending)`); n != 0 {
		t.Errorf("%d things of a removed view are left", n)
	}
}

// TestTruncatedTables: a TRUNCATE of any table of a generation breaks it, live or not, also of
// one that an earlier build has made, and no other.
func TestTruncatedTables(t *testing.T) {
	db := pgtest.Migrated(t)
	s := declared.NewStore(db)
	define := func(name string) view.Definition { return define(t, name, `,"group":{"by":["city"],"count":true}`) }
	exec := func(sql string) {
		t.Helper()
		_, err := db.Pool().Exec(t.Context(), sql)
		harness.Must(t, err)
	}
	other := swapped(t, s, built(t, s, define("other")))
	for i, c := range []struct {
		live, earlier bool
		table         func(view string, id int64) string
	}{
		{true, false, func(view string, _ int64) string { return "view_" + view }},
		{true, false, func(view string, id int64) string { return fmt.Sprintf("view_%s$%de", view, id) }},
		{false, false, func(view string, id int64) string { return fmt.Sprintf("view_%s$%d", view, id) }},
		{true, true, func(view string, _ int64) string { return "view_" + view }},
	} {
		g := built(t, s, define(fmt.Sprint("v", i)))
		if c.live {
			g = swapped(t, s, g)
		}
		table := `agents."` + c.table(g.View, g.ID) + `"`
		if c.earlier {
			exec(`DROP TRIGGER declared_truncated ON ` + table)
			harness.Must(t, s.Watch(t.Context()))
		}
		exec(`TRUNCATE ` + table)
		gs, err := s.All(t.Context())
		harness.Must(t, err)
		for _, now := range gs {
			if now.ID == g.ID && !now.Broken || now.ID == other.ID && now.Broken {
				t.Errorf("after TRUNCATE %s: broken is %t of %s", table, now.Broken, now.View)
			}
		}
	}
}
