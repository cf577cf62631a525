package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// place is an entry that the demo wrote, with the token of its agent's last
// write: a tier that has reached it has all writes of the agent.
type place struct{ agent, key, token string }

func (p place) name() string { return p.agent + "." + p.key }

// rows are entries by "<agent>.<key>".
type rows map[string]readmodel.Entry

// reading is the content of one tier for the places.
type reading struct {
	Tier    string         `json:"tier"`
	Via     string         `json:"via"`
	Off     string         `json:"off,omitempty"` // why it was not read
	Entries int            `json:"entries"`
	Seen    map[string]int `json:"seen,omitempty"` // further counts of this tier
	Digest  string         `json:"digest,omitempty"`
	Seconds float64        `json:"seconds"`
	rows    rows
}

// reader reads the places from every tier.
type reader struct {
	links   *links
	status  deployment.Status
	journal *journal.Journal
	heads   []uint64 // of the journal before the demo wrote
	places  []place
	history entryHistory // from the replay
}

func newReader(ctx context.Context, l *links) (*reader, error) {
	r := &reader{links: l}
	var err error
	if r.status, _, err = l.target.Status(ctx, l.conns[0]); err != nil {
		return nil, err
	}
	if r.journal, err = journal.OpenExisting(ctx, l.stores, l.target.Subjects()); err != nil {
		return nil, err
	}
	for p := range r.journal.Partitions() {
		head, err := r.journal.Head(ctx, p)
		if err != nil {
			return nil, err
		}
		r.heads = append(r.heads, head)
	}
	return r, nil
}

// all reads every tier, the journal last. Tokens make each read wait until its
// view has reached the writes.
func (r *reader) all(ctx context.Context) ([]reading, error) {
	bar := cli.NewProgress(len(r.places), "entries read from memory", "reads")
	defer bar.End()
	var all []reading
	for _, tier := range []func(context.Context, *cli.Progress) (reading, error){r.memory, r.kv, r.sql, r.replay} {
		start := time.Now()
		got, err := tier(ctx, bar)
		if err != nil {
			return nil, fmt.Errorf("read the %s tier: %w", got.Tier, err)
		}
		got.Entries, got.Seconds = len(got.rows), time.Since(start).Seconds()
		if got.Off == "" {
			got.Digest = got.rows.digest()
		}
		all = append(all, got)
	}
	return all, nil
}

func (r *reader) memory(ctx context.Context, bar *cli.Progress) (reading, error) {
	got := reading{Tier: "memory", Via: "queries"}
	return got, r.queries(ctx, &got, "", bar)
}

// queries reads every place by a query and counts the tiers that answered.
func (r *reader) queries(ctx context.Context, into *reading, consistency string, bar *cli.Progress) error {
	into.rows, into.Seen = rows{}, map[string]int{}
	var mu sync.Mutex
	return each(ctx, len(r.places), 64, func(ctx context.Context, i int) error {
		p := r.places[i]
		e, found, err := r.links.get(ctx, i, p, consistency)
		if err != nil {
			return err
		}
		bar.Step()
		mu.Lock()
		defer mu.Unlock()
		if !found {
			into.Seen["deleted"]++
			return nil
		}
		into.Seen["from "+e.Source]++
		into.rows[p.name()] = readmodel.Entry{
			Agent: p.agent, Key: p.key, Value: e.Value, Version: e.Version, Revision: e.Revision, Digest: e.Digest,
		}
		return nil
	})
}

// firsts are one place of each agent. Asked for with the agent's token it is
// answered when the tier has all of the agent, provided that the agent's last
// write went to another key.
func (r *reader) firsts() (agents []string, firsts []place) {
	for i, p := range r.places {
		if i == 0 || p.agent != r.places[i-1].agent {
			agents, firsts = append(agents, p.agent), append(firsts, p)
		}
	}
	return agents, firsts
}

// await returns when a tier has all writes.
func (r *reader) await(ctx context.Context, consistency string) error {
	_, firsts := r.firsts()
	return each(ctx, len(firsts), 64, func(ctx context.Context, i int) error {
		_, _, err := r.links.get(ctx, i, firsts[i], consistency)
		return err
	})
}

// kv reads the hot bucket as any NATS client can.
func (r *reader) kv(ctx context.Context, _ *cli.Progress) (reading, error) {
	bucket := hot.AgentStateBucket.Name
	got := reading{Tier: "kv", Via: "a watch of bucket " + bucket, rows: rows{}, Seen: map[string]int{"deleted": 0}}
	if err := r.await(ctx, "hot"); err != nil {
		return got, err
	}
	js, err := jetstream.New(r.links.conns[0])
	if err != nil {
		return got, err
	}
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return got, err
	}
	agents, _ := r.firsts()
	for len(agents) > 0 { // a watch with very many filters starts slowly
		n := min(len(agents), 100)
		if err := r.watchOnce(ctx, kv, agents[:n], &got); err != nil {
			return got, err
		}
		agents = agents[n:]
	}
	return got, nil
}

// watchOnce reads the present entries of some agents.
func (r *reader) watchOnce(ctx context.Context, kv jetstream.KeyValue, agents []string, into *reading) error {
	filters := make([]string, len(agents))
	for i, agent := range agents {
		filters[i] = agent + ".>"
	}
	w, err := kv.WatchFiltered(ctx, filters)
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }() // the result is complete
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case v, open := <-w.Updates():
			switch {
			case !open:
				return errors.New("the watch ended early")
			case v == nil:
				return nil
			case v.Operation() != jetstream.KeyValuePut:
				into.Seen["deleted"]++
				continue
			}
			e, err := readmodel.DecodeKV(v.Value())
			if err != nil {
				return fmt.Errorf("%s: %w", v.Key(), err)
			}
			e.Agent, e.Key, _ = strings.Cut(v.Key(), ".")
			into.rows[v.Key()] = e
		}
	}
}

// sql reads the table where the status shows how to connect, else by queries
// that only SQL may answer.
func (r *reader) sql(ctx context.Context, bar *cli.Progress) (reading, error) {
	got := reading{Tier: "sql", Via: "SELECT from " + r.schema() + ".state", rows: rows{}, Seen: map[string]int{}}
	if r.status.Postgres.Mode == "off" {
		got.Via, got.Off = "", "this engine runs without SQL"
		return got, nil
	}
	if err := r.await(ctx, "durable"); err != nil {
		return got, err
	}
	cctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	db, err := pgx.Connect(cctx, r.status.Postgres.URL)
	if err != nil { // the status hides the password, or the database is not reachable from here
		got.Via = "queries with consistency durable"
		return got, r.queries(ctx, &got, "durable", bar)
	}
	defer db.Close(context.WithoutCancel(ctx))
	return got, r.selectRows(ctx, db, &got)
}

// schema is that of the engine's tables.
func (r *reader) schema() string { return cmp.Or(r.status.Postgres.Schema, string(pg.Live)) }

func (r *reader) selectRows(ctx context.Context, db *pgx.Conn, into *reading) error {
	agents, _ := r.firsts()
	found, err := db.Query(ctx, `
		SELECT agent_id, state_key, state_text, version, revision, digest
		FROM `+r.schema()+`.state WHERE agent_id = ANY($1)`, agents)
	if err != nil {
		return err
	}
	var e readmodel.Entry
	var text string
	_, err = pgx.ForEachRow(found, []any{&e.Agent, &e.Key, &text, &e.Version, &e.Revision, &e.Digest}, func() error {
		e.Value = []byte(text)
		into.rows[e.Agent+"."+e.Key] = e
		return nil
	})
	if err != nil {
		return err
	}
	lost, err := db.Query(ctx, `SELECT kind, count(*) FROM `+r.schema()+`.conflicts WHERE agent_id = ANY($1) GROUP BY kind`, agents)
	if err != nil {
		return err
	}
	var kind string
	var n int
	_, err = pgx.ForEachRow(lost, []any{&kind, &n}, func() error {
		into.Seen[kind] = n
		return nil
	})
	return err
}
