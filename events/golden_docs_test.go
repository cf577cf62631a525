package events_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/events"
)

func init() {
	percent, revision := 12.5, uint64(18446744073709551615)
	for typ, data := range map[string]any{
		events.HydrationStarted: events.LifecycleChange{Reason: "first read", Request: "r"},
		events.Hydrated:         events.LifecycleChange{Keys: []string{"k", "l.m"}, Request: "r"},
		events.HydrationFailed:  events.LifecycleChange{Reason: "sql.unavailable", Request: "r"},
		events.FlushStarted:     events.LifecycleChange{Request: "r"},
		events.Flushed:          events.LifecycleChange{Keys: []string{"k"}, Revision: 18446744073709551615, Request: "r"},
		events.FlushFailed:      events.LifecycleChange{Reason: "sql.unavailable", Request: "r"},
		events.Expired:          events.LifecycleChange{Reason: "idle", Keys: []string{"k"}, Request: "r"},
		events.Retired:          events.LifecycleChange{Reason: "é \u2028", Request: "r"},
		events.Forked: events.LifecycleChange{Reason: "what if", Origin: &events.Origin{
			Agent: "a0", Partition: 3, Revision: 18446744073709551615, AtTime: when, Keys: 12}, Request: "r"},
		events.Erased:        events.LifecycleChange{Reason: "article 17", Erasure: &events.Erasure{Entries: 3, Tasks: 2, DataKeys: []string{"00ff"}}, Request: "r"},
		events.RevertStarted: events.LifecycleChange{Reverted: &events.AgentReversion{RevertPoint: events.RevertPoint{ToTime: when}, Follows: 900}, Request: "r"},
		events.Reverted: events.LifecycleChange{Reason: "bad run", Reverted: &events.AgentReversion{
			RevertPoint: events.RevertPoint{ToRevision: &revision}, Keys: 12, Follows: 12}, Request: "r"},
		events.TaskCreated: events.TaskCreate{
			Kind: "k", Payload: jsontext.Value(`{"n":1.50,"s":"\u0041\/"}`), AgentID: "a1", Priority: 10, Deadline: when, Request: "r"},
		events.TaskStarted:    events.TaskStart{AgentID: "a1", Request: "r"},
		events.TaskProgressed: events.TaskProgress{Percent: &percent, Note: "half \"way\"", Request: "r"},
		events.TaskCompleted:  events.TaskComplete{Result: jsontext.Value(`[12345678901234567890,null]`), Request: "r"},
		events.TaskFailed:     events.TaskEnd{Reason: "boom", Detail: "out of\nmemory", Request: "r"},
		events.TaskCancelled:  events.TaskEnd{Request: "r"},
		events.TaskRetried:    events.TaskBack{NotBefore: when, Request: "r"},
		events.TaskLeaseExpired: events.TaskLeaseExpire{
			AgentID: "a1", Fence: 18446744073709551615, Followed: events.Followed{Followed: true}, Request: "r"},
		events.SessionOpened:   events.SessionOpen{Owner: "o", TTL: 3600, Request: "r"},
		events.SessionPut:      events.SessionWrite{Key: "k", Value: jsontext.Value(`1.50`), Request: "r"},
		events.SessionTouched:  events.Plain{Request: "r"},
		events.SessionClosed:   events.Plain{Request: "r"},
		events.SessionExpired:  events.Plain{Request: "r"},
		events.TaskErased:      events.Plain{Request: "r"},
		events.SessionErased:   events.Plain{Request: "r"},
		events.ClaimAcquired:   events.ClaimHold{Owner: "o", LeaseMS: 30000, Data: jsontext.Value(`{"n":1.50}`), Fence: 3, Request: "r"},
		events.ClaimRenewed:    events.ClaimRenewal{LeaseMS: 30000, Request: "r"},
		events.ClaimReleased:   events.ClaimEnd{Request: "r"},
		events.ClaimExpired:    events.ClaimEnd{TakenBy: "p", Request: "r"},
		events.ClaimErased:     events.Plain{Request: "r"},
		events.MessageRead:     events.InboxRead{UpTo: 1764431953123456, Marks: []int64{1764431953123458, 9223372036854775807}, Request: "r"},
		events.RequireDeclared: events.RequireBatch{Checks: 1},
		events.RequireChecked:  events.RequireCheck{Name: "agent.x1.state.k.l", Version: 3, Revision: 18446744073709551615},
		events.ReminderSet: events.ReminderSchedule{
			Cron: "0 9 * * 1-5", Timezone: "Europe/Berlin", Until: when, Count: 3, Missed: "one", Command: events.ReminderCommand{Subject: "agent.a1.set", Body: jsontext.Value(`{"n":1.50,"s":"\u0041\/"}`)},
			AgentID: "a1", Owner: "a1", SetBy: "alice", NextAt: when, Request: "r"},
		events.ReminderDue: events.ReminderDueTime{Due: when, CommandID: "c2", Missed: 2, NextAt: when.Add(1), Request: "r"},
		events.ReminderFired: events.ReminderAnswer{
			Due: when, CommandID: "c2", Outcome: "refused", Error: &events.ReminderError{Code: "key.invalid", Status: 400, Message: "é"}, Request: "r"},
		events.ReminderMissed:    events.ReminderMiss{Count: 2, First: when, Last: when.Add(1), Request: "r"},
		events.ReminderCancelled: events.Plain{Request: "r"},
		events.ReminderDone:      events.ReminderEnd{Reason: "count", Fired: 3, Request: "r"},
		events.ReminderErased:    events.Plain{Request: "r"},
		events.ViewDefined:       events.ViewDefinition{Definition: jsontext.Value(`{"columns":{"n":{"path":"/value/a~1b","type":"numeric"}},"from":"state","into":["sql"],"name":"x1"}`), SetBy: "alice", Request: "r"},
		events.ViewRemoved:       events.Plain{Request: "r"},
	} {
		encoded, err := json.Marshal(data, json.Deterministic(true), jsontext.PreserveRawStrings(true))
		if err != nil {
			panic(err)
		}
		aggregate, _, _ := strings.Cut(typ, ".")
		golden[typ+".1"] = events.Event{
			Type: typ, Aggregate: aggregate, ID: "x1", Version: 3, Timestamp: when, RecordedAt: when.Add(1), CommandID: "c",
			Data: encoded, State: jsontext.Value(`{"n":1.50,"since":"2026-01-02T03:04:05Z"}`),
		}
	}
	for typ, write := range map[string]events.StateWrite{
		events.ConfigSet:   {Value: jsontext.Value(`{ "retry" : 3.0 }`), Request: "r"},
		events.ConfigUnset: {Request: "r"},
	} {
		golden[typ+".1"] = events.Event{
			Type: typ, Aggregate: "config", ID: "a1", Key: "k.l", Version: 2, Timestamp: when, RecordedAt: when, CommandID: "c", Data: write.Encode(),
		}
	}
}

// Whatever type the package declares has a golden file.
func TestEveryTypeHasAGoldenFile(t *testing.T) {
	found := 0
	for _, typ := range declared(t) {
		found++
		if _, ok := golden[typ+".1"]; !ok {
			t.Errorf("%s has none", typ)
		}
	}
	if found < 25 {
		t.Errorf("only %d types were found", found)
	}
}

// declared are the package's constants that look like a type.
func declared(t *testing.T) (types []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if _, ok := n.(*ast.FuncDecl); ok {
				return false
			}
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			if typ, err := strconv.Unquote(lit.Value); err == nil && regexp.MustCompile(`^[a-z]+\.[a-z_]+$`).MatchString(typ) {
				types = append(types, typ)
			}
			return true
		})
	}
	return types
}

func TestEventsKnowTheirStream(t *testing.T) {
	for name, ev := range golden {
		home := ev.Home()
		switch {
		case home == "":
			t.Errorf("%s belongs nowhere", name)
		case home.ID() != ev.ID:
			t.Errorf("%s of %s belongs on %s", name, ev.ID, home)
		case ev.Key != "" && !strings.HasSuffix(string(home), "."+ev.Key):
			t.Errorf("%s of the key %s belongs on %s", name, ev.Key, home)
		}
	}
	if home := (&events.Event{Type: "x.y", Aggregate: "x", ID: "1"}).Home(); home != "" {
		t.Errorf("what is not known belongs on %s", home)
	}
}
