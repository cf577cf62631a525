package faults

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// uuid7 returns a command id of the other kind that carries its time.
func uuid7(at time.Time) string {
	u := uuid.New()
	binary.BigEndian.PutUint64(u[:8], uint64(at.UnixMilli())<<16|uint64(binary.BigEndian.Uint16(u[6:8])&0x0fff)|0x7000)
	return u.String()
}

func ulidAt(at time.Time) string {
	return ulid.MustNew(ulid.Timestamp(at), ulid.DefaultEntropy()).String()
}

// TestDedupAcrossRestarts repeats commands after clean stops and kills. Most of
// their ids carry a time an hour ago, which no duplicate window covers: the
// engine must find them in the journal.
func TestDedupAcrossRestarts(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{})
	c := e.Client(t)
	type sent struct {
		name, subject, id, body string
		receipt                 harness.Receipt
		status                  int // of the refusal; 0 = there is a receipt
	}
	var all []*sent
	send := func(s *sent) (harness.Receipt, int) {
		r, err := c.Command(context.Background(), s.subject, s.id, s.body)
		for until := time.Now().Add(harness.Patience); time.Now().Before(until); { // 503 says to send it again
			if no := harness.Refused(err); no == nil || no.Status != 503 {
				break
			}
			pause(t.Context(), 20*time.Millisecond)
			r, err = c.Command(context.Background(), s.subject, s.id, s.body)
		}
		if no := harness.Refused(err); no != nil {
			return r, no.Status
		}
		if err != nil {
			t.Errorf("%s %s: %v", s.name, s.id, err)
		}
		return r, 0
	}
	hour := time.Now().Add(-time.Hour)
	makers := map[string]func() string{
		"old ULID":       func() string { return ulidAt(hour) },
		"very old ULID":  func() string { return ulidAt(time.Now().Add(-10 * 365 * 24 * time.Hour)) },
		"old UUIDv7":     func() string { return uuid7(hour) },
		"young ULID":     harness.NewID,
		"id of no time":  func() string { return "plain-" + harness.NewID()[6:] },
		"just too old":   func() string { return ulidAt(time.Now().Add(-2*time.Minute - time.Second)) },
		"of the future":  func() string { return ulidAt(time.Now().Add(3 * time.Second)) },
		"window's brink": func() string { return ulidAt(time.Now().Add(-90 * time.Second)) },
	}
	for kind, id := range makers {
		agent := strings.NewReplacer(" ", "-", "'", "").Replace(kind)
		for n, step := range []struct{ name, verb, more string }{
			{"set", "set", `"value":1,"strategy":"last_write_wins"`},
			{"set again", "set", `"value":2,"strategy":"last_write_wins"`},
			{"rejected", "set", `"value":3,"strategy":"reject"`},
			{"superseded", "set", `"value":4,"strategy":"timestamp","timestamp":"2001-01-01T00:00:00Z"`},
			{"expected", "set", `"value":5,"expected_version":2,"strategy":"last_write_wins"`},
			{"not as expected", "set", `"value":6,"expected_version":2,"strategy":"last_write_wins"`},
			{"delete", "delete", `"strategy":"last_write_wins"`},
			{"set after the delete", "set", `"value":7,"strategy":"last_write_wins"`},
		} {
			s := &sent{name: kind + ", " + step.name, subject: "commands.agent." + agent + "." + step.verb, id: id(),
				body: `{"key":"k",` + step.more + `}`}
			s.receipt, s.status = send(s)
			if want := []string{"accepted", "accepted", "409", "superseded", "accepted", "409", "accepted", "accepted"}[n]; s.receipt.Outcome != want && fmt.Sprint(s.status) != want {
				t.Fatalf("%s: %+v %d, want %s", s.name, s.receipt, s.status, want)
			}
			all = append(all, s)
		}
		for range 20 { // so none of them is the last event of its entry
			c.MustSet(t, agent, "k", "later", harness.M{"strategy": "last_write_wins"})
		}
	}
	journal := len(harness.States(c.CheckAll(t)))

	again := func(when string) {
		t.Helper()
		order := rand.Perm(2 * len(all)) // each twice, at about the same time
		var running sync.WaitGroup
		for _, i := range order {
			s := all[i/2]
			running.Go(func() {
				r, status := send(s)
				want := s.receipt
				if want.Replayed = s.status == 0; r != want || status != s.status {
					t.Errorf("%s, %s: %+v %d, the first time %+v %d", when, s.name, r, status, s.receipt, s.status)
				}
			})
		}
		running.Wait()
		for _, s := range all {
			other := strings.Replace(s.body, `"key":"k"`, `"key":"k","writer":"another"`, 1)
			_, err := c.Command(t.Context(), s.subject, s.id, other)
			if no := harness.Refused(err); no == nil || no.Status != 409 || no.Code != "command.id_reused" {
				t.Errorf("%s, %s with another body: %v", when, s.name, err)
			}
		}
		if now := len(harness.States(c.Journal(t))); now != journal {
			t.Errorf("%s: the journal went from %d to %d events", when, journal, now)
		}
	}
	again("at once")
	e.Stop()
	e.Restart()
	again("after a restart")
	e.Kill()
	e.Restart()
	again("after a kill")

	// Many clients send the same old id at the same time, for an entry that no
	// engine has in memory.
	for n, id := range []string{ulidAt(hour), uuid7(hour), harness.NewID()} {
		if n%2 == 0 {
			e.Kill()
			e.Restart()
		}
		var running sync.WaitGroup
		for range 16 {
			running.Go(func() {
				r, err := c.Command(context.Background(), fmt.Sprintf("commands.agent.race%d.set", n), id,
					`{"key":"k","value":1,"strategy":"last_write_wins"}`)
				if err != nil || r.Version != 1 {
					t.Errorf("one of many: %+v %v", r, err)
				}
			})
		}
		running.Wait()
	}
	if now := len(harness.States(c.CheckAll(t))); now != journal+3 {
		t.Errorf("16 times three commands made %d events", now-journal)
	}
	e.Verify()
}
