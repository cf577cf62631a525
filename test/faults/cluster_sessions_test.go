package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// kinds of reads with a token.
var kinds = []string{"cached", "hot", "durable", "entries", "list", "task"}

// sessions write through one server and read with the token of the receipt through
// the next one, so that another engine or replica answers. A read that does not show
// the write is stale.
type sessions struct {
	t       *testing.T
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	reads   map[string]int
	stale   []string
	refused map[string]int // reads that were refused or had no answer, by code
	acks    []time.Time
	done    []sent
}

// sent is an acknowledged command.
type sent struct {
	subject, id, body string
	receipt           harness.Receipt
}

// startSessions starts sessions on clients of different servers.
func startSessions(t *testing.T, clients []*harness.Client, each int) *sessions {
	s := &sessions{t: t, reads: map[string]int{}, refused: map[string]int{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	t.Cleanup(s.stop)
	for i := range clients {
		for k := range each {
			s.running.Go(func() {
				s.run(fmt.Sprintf("ts%d-%d", i, k), clients[i], clients[(i+1)%len(clients)], clients[(i+2)%len(clients)])
			})
		}
	}
	return s
}

func (s *sessions) stop() {
	s.cancel()
	s.running.Wait()
}

func (s *sessions) run(name string, writes *harness.Client, reads ...*harness.Client) {
	for n := 0; s.ctx.Err() == nil; n++ {
		kind, reader := kinds[n%len(kinds)], reads[n%len(reads)]
		agent, key := fmt.Sprintf("%s-%d", name, n/60), fmt.Sprint("k", n%3)
		one := sent{subject: "commands.agent." + agent + ".set", id: harness.NewID(), body: fmt.Sprintf(`{"key":%q,"value":%d,"strategy":"last_write_wins"}`, key, n)}
		if kind == "task" {
			agent = fmt.Sprintf("%s-task%d", name, n)
			one.subject, one.body = "commands.task."+agent+".create", `{"kind":"token"}`
		}
		if !s.write(&one, writes) {
			return
		}
		s.read(kind, agent, key, reader, one.receipt)
	}
}

// write repeats a command under its id until it is acknowledged; false at the end of
// the sessions.
func (s *sessions) write(one *sent, c *harness.Client) bool {
	for s.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		r, err := c.Command(ctx, one.subject, one.id, one.body)
		cancel()
		if no := harness.Refused(err); no != nil && no.Status != 503 && no.Status != 429 {
			s.t.Errorf("%s %s: %v", one.subject, one.body, err)
			return false
		}
		if err == nil {
			one.receipt = r
			s.mu.Lock()
			s.acks, s.done = append(s.acks, time.Now()), append(s.done, *one)
			s.mu.Unlock()
			return true
		}
		pause(s.ctx, 20*time.Millisecond)
	}
	return false
}

// read asks for what the receipt's token promises.
func (s *sessions) read(kind, agent, key string, c *harness.Client, r harness.Receipt) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	var at uint64 // revision that the answer shows
	var err error
	switch kind {
	case "entries":
		at, err = s.rows(ctx, c, "queries.agent."+agent+".entries", harness.M{"token": r.Token}, key)
	case "list":
		at, err = s.rows(ctx, c, "queries.agents.list", harness.M{"token": r.Token, "prefix": agent}, agent)
	case "task":
		at, err = s.rows(ctx, c, "queries.task."+agent+".get", harness.M{"token": r.Token}, "")
	default:
		var e harness.Entry
		e, err = c.Get(ctx, agent, key, harness.M{"consistency": kind, "token": r.Token})
		at = e.Revision
	}
	no := harness.Refused(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && at >= r.Revision, no != nil && no.Status == 404:
		s.reads[kind]++
		if err == nil {
			return
		}
		s.stale = append(s.stale, fmt.Sprintf("%s of %s %s after revision %d: %v", kind, agent, key, r.Revision, err))
	case err == nil:
		s.reads[kind]++
		s.stale = append(s.stale, fmt.Sprintf("%s of %s %s after revision %d showed revision %d", kind, agent, key, r.Revision, at))
	case no != nil && no.Status != 503:
		s.t.Errorf("%s of %s %s: %v", kind, agent, key, err)
	case no != nil:
		s.refused[no.Code]++
	default:
		s.refused["no answer"]++
	}
}

// rows returns the revision of the row with a name in the answer to a query for
// rows, or of the answer itself without a name; 0 = it is not there.
func (s *sessions) rows(ctx context.Context, c *harness.Client, subject string, body harness.M, name string) (uint64, error) {
	text, err := c.Query(ctx, subject, body)
	if err != nil {
		return 0, err
	}
	type row struct {
		Agent    string `json:"agent_id"`
		Key      string `json:"key"`
		Revision uint64 `json:"revision"`
	}
	var got struct {
		row
		Entries []row `json:"entries"`
		Agents  []row `json:"agents"`
	}
	if err := json.Unmarshal(text, &got); err != nil {
		return 0, err
	}
	if name == "" {
		return got.Revision, nil
	}
	for _, r := range slices.Concat(got.Entries, got.Agents) {
		if r.Key == name || r.Key == "" && r.Agent == name {
			return r.Revision, nil
		}
	}
	return 0, nil
}

// wait returns when every kind has this many more reads.
func (s *sessions) wait(more int) {
	s.t.Helper()
	goal := map[string]int{}
	s.mu.Lock()
	for _, k := range kinds {
		goal[k] = s.reads[k] + more
	}
	s.mu.Unlock()
	harness.Within(s.t, time.Minute+time.Duration(more)*50*time.Millisecond, "reads of every kind", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.stale) > 0 {
			return nil // judge says which
		}
		for _, k := range kinds {
			if s.reads[k] < goal[k] {
				return fmt.Errorf("%v; %v", s.reads, s.refused)
			}
		}
		return nil
	})
}

// longestGap is the longest time without an acknowledgement since from.
func (s *sessions) longestGap(from time.Time) (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := from
	for _, at := range append(slices.Clone(s.acks), time.Now()) {
		if at.Before(from) {
			continue
		}
		longest, last = max(longest, at.Sub(last)), at
	}
	return longest
}

// acked returns when the next command is acknowledged.
func (s *sessions) acked(within time.Duration) {
	s.t.Helper()
	from := time.Now()
	harness.Within(s.t, within, "a command is acknowledged", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := len(s.acks); n == 0 || s.acks[n-1].Before(from) {
			return errors.New("none")
		}
		return nil
	})
}

// count is the number of acknowledged commands.
func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.done)
}

// repeat sends the acknowledged commands from the n-th on again: each must be answered
// as the first time. It returns how many there are.
func (s *sessions) repeat(c *harness.Client, n int) int {
	s.t.Helper()
	s.mu.Lock()
	all := slices.Clone(s.done[n:])
	s.mu.Unlock()
	for _, one := range all {
		r, err := c.Command(context.Background(), one.subject, one.id, one.body)
		one.receipt.Replayed = true
		if err != nil || r != one.receipt {
			s.t.Errorf("repeated: %+v %v; the first time %+v", r, err, one.receipt)
			break
		}
	}
	return len(all)
}

// judge stops the sessions, reports stale reads, and repeats every acknowledged
// command through every client: each must be answered as the first time. It returns
// a line of figures.
func (s *sessions) judge(clients []*harness.Client) string {
	s.t.Helper()
	s.stop()
	for i, why := range s.stale {
		if i == 10 {
			s.t.Errorf("… and %d more", len(s.stale)-i)
			break
		}
		s.t.Error("stale: " + why)
	}
	var repeats sync.WaitGroup
	for i, c := range clients {
		for part := range 4 {
			repeats.Go(func() {
				for n := part; n < len(s.done); n += 4 {
					one := s.done[n]
					r, err := c.Command(context.Background(), one.subject, one.id, one.body)
					one.receipt.Replayed = true
					if err != nil || r != one.receipt {
						s.t.Errorf("repeated through server %d: %+v %v; the first time %+v", i, r, err, one.receipt)
						return
					}
				}
			})
		}
	}
	repeats.Wait()
	var text []string
	for _, k := range kinds {
		text = append(text, fmt.Sprintf("%s %d", k, s.reads[k]))
	}
	return fmt.Sprintf("token reads: %s; %d stale; without an answer %v; %d acknowledged commands repeated %d times each",
		strings.Join(text, ", "), len(s.stale), s.refused, len(s.done), len(clients))
}
