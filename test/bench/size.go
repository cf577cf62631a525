package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
)

// The cells of size read the large journal's entries, and one agent that has a tenth as
// many as all others together.

// openCold compares reads of random entries just after a start with a request and a get of
// the key.
func openCold(ctx context.Context, b *bench) (player, error) {
	l, err := b.openLarge(ctx)
	return funcPlayer{play: func(ctx context.Context, n int) (r round, err error) {
		l.stop()
		if err = l.serve(ctx, b); err != nil {
			return r, err
		}
		nc, err := l.up.connect()
		if err != nil {
			return r, err
		}
		defer nc.Close()
		responder, err := echo(l.up.url, echoSubject, receiptSize)
		if err != nil {
			return r, err
		}
		defer responder.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			return r, err
		}
		kv, err := js.KeyValue(ctx, hot.AgentStateBucket.Name)
		if err != nil {
			return r, err
		}
		random := rand.New(rand.NewPCG(uint64(n), 0))
		entry := func() (agent, key string) {
			i := random.IntN(b.size.large)
			return "big-" + strconv.Itoa(i%agents), "k" + strconv.Itoa(i/agents)
		}
		if r.own, err = timed(b.size.probes, func() error {
			agent, key := entry()
			_, err := ask(ctx, nc, "queries.agent."+agent+".get", `{"key":"`+key+`"}`)
			return err
		}); err != nil {
			return r, err
		}
		r.yard, err = timed(b.size.probes, func() error {
			if _, err := nc.RequestWithContext(ctx, echoSubject, nil); err != nil {
				return err
			}
			agent, key := entry()
			_, err := kv.Get(ctx, agent+"."+key)
			return err
		})
		return r, err
	}}, err
}

// ask sends a query, or a command, and returns its answer.
func ask(ctx context.Context, nc *nats.Conn, subject, body string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	reply, err := nc.RequestWithContext(ctx, subject, []byte(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", subject, err)
	}
	if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
		return nil, fmt.Errorf("%s: %s %s", subject, code, reply.Data)
	}
	return reply.Data, nil
}

// budget is the yardstick of a cell whose time is bounded.
func budget(d time.Duration) side { return side{value: millis(d)} }

// openTimed compares the median time of a call with a budget.
func openTimed(limit time.Duration, call func(ctx context.Context, l *large, nc *nats.Conn) error) func(ctx context.Context, b *bench) (player, error) {
	return func(ctx context.Context, b *bench) (player, error) {
		l, err := b.openLarge(ctx)
		if err != nil {
			return nil, err
		}
		nc, err := l.up.connect()
		if err != nil {
			return nil, err
		}
		return funcPlayer{cleanup: nc.Close, play: func(ctx context.Context, _ int) (r round, err error) {
			r.own, err = timed(b.size.probes/10, func() error { return call(ctx, l, nc) })
			r.yard = budget(limit)
			return r, err
		}}, nil
	}
}

// firstScreen loads the console's overview.
func firstScreen(ctx context.Context, l *large, _ *nats.Conn) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.up.http+"/", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/html")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || len(page) < 1000) {
		err = errors.New("the console answers " + resp.Status)
	}
	return err
}

// listAgents reads the first page of agents.
func listAgents(ctx context.Context, _ *large, nc *nats.Conn) error {
	_, err := ask(ctx, nc, "queries.agents.list", `{}`)
	return err
}

// wideAgent has a tenth as many entries as all others together.
const wideAgent = "wide"

// openWide writes the entries of wideAgent once, and returns how many it has.
func (b *bench) openWide(ctx context.Context) (l *large, n int, err error) {
	if l, err = b.openLarge(ctx); err != nil {
		return nil, 0, err
	}
	n = b.size.large / 10
	if l.wide {
		return l, n, nil
	}
	const clients = 256
	if _, err = closedLoop(ctx, l.up.connect, newClients(clients, func(w int) client {
		c := setter(wideAgent, clients)(w)
		c.next = func(i int) *nats.Msg {
			if i = w + i*clients; i >= n {
				return nil
			}
			return set("commands.agent."+wideAgent+".set", "k"+strconv.Itoa(i), i)
		}
		return c
	}), time.Hour); err != nil {
		return nil, 0, err
	}
	l.wide = true
	return l, n, l.up.caughtUp(ctx)
}

// openEntries compares the rate at which the pages of wideAgent are read with one
// statement that reads its rows.
func openEntries(ctx context.Context, b *bench) (player, error) {
	l, n, err := b.openWide(ctx)
	if err != nil {
		return nil, err
	}
	pool, err := rawPool(ctx, l.up)
	if err != nil {
		return nil, err
	}
	nc, err := l.up.connect()
	if err != nil {
		pool.Close()
		return nil, err
	}
	return funcPlayer{cleanup: func() { nc.Close(); pool.Close() }, play: func(ctx context.Context, number int) (round, error) {
		return alternate(number, func() (s side, err error) {
			began, got, cursor := time.Now(), 0, ""
			for more := true; more; more = cursor != "" {
				answer, err := ask(ctx, nc, "queries.agent."+wideAgent+".entries", `{"limit":1000,"cursor":"`+cursor+`"}`)
				if err != nil {
					return s, err
				}
				var page struct {
					Entries []struct{ Key string }
					Cursor  string
				}
				if err := json.Unmarshal(answer, &page); err != nil {
					return s, err
				}
				got, cursor = got+len(page.Entries), page.Cursor
			}
			if got != n {
				return s, fmt.Errorf("the pages have %d of %d entries", got, n)
			}
			s.value = float64(n) / time.Since(began).Seconds()
			return s, nil
		}, func() (s side, err error) {
			began := time.Now()
			rows, err := pool.Query(ctx, `SELECT state_key, state_value::text FROM agents.state WHERE agent_id = $1 ORDER BY state_key`, wideAgent)
			if err != nil {
				return s, err
			}
			got := 0
			var key, value string
			_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error { got++; return nil })
			if err == nil && got != n {
				err = fmt.Errorf("the table has %d of %d entries", got, n)
			}
			s.value = float64(n) / time.Since(began).Seconds()
			return s, err
		})
	}}, nil
}

// openHydrate compares the rate at which the entries of wideAgent return to the bucket
// with plain puts to a bucket.
func openHydrate(ctx context.Context, b *bench) (player, error) {
	l, n, err := b.openWide(ctx)
	if err != nil {
		return nil, err
	}
	nc, err := l.up.connect()
	if err != nil {
		return nil, err
	}
	phase := func(want string) error {
		return l.up.until(ctx, 5*time.Minute, "the phase "+want, func() error {
			answer, err := ask(ctx, nc, "queries.agent."+wideAgent+".lifecycle", `{}`)
			if err != nil {
				return err
			}
			var is struct{ Phase string }
			if err = json.Unmarshal(answer, &is); err == nil && is.Phase != want {
				err = errors.New("the phase is " + is.Phase)
			}
			return err
		})
	}
	return funcPlayer{cleanup: nc.Close, play: func(ctx context.Context, _ int) (r round, err error) {
		if _, err = ask(ctx, nc, "commands.agent."+wideAgent+".expire", `{}`); err != nil {
			return r, err
		}
		if err = errors.Join(phase("expired"), l.up.caughtUp(ctx)); err != nil {
			return r, err
		}
		began := time.Now()
		if _, err = ask(ctx, nc, "commands.agent."+wideAgent+".hydrate", `{}`); err != nil {
			return r, err
		}
		if err = phase("active"); err != nil {
			return r, err
		}
		r.own.value = float64(n) / time.Since(began).Seconds()
		if err = l.up.caughtUp(ctx); err != nil {
			return r, err
		}
		r.yard, err = rawPuts(ctx, l.up, b.size.lasts)
		return r, err
	}}, nil
}
