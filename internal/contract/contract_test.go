package contract_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/tidemark-engine/tidemark/domain/agent"
	"github.com/tidemark-engine/tidemark/domain/claim"
	"github.com/tidemark-engine/tidemark/domain/inbox"
	"github.com/tidemark-engine/tidemark/domain/reminder"
	"github.com/tidemark-engine/tidemark/domain/session"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/internal/contract"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// structs are the Go types that a shape must name member by member.
var structs = map[string]any{
	"TaskState": task.Task{}, "SessionState": session.Session{}, "ClaimState": claim.Claim{}, "ReminderState": reminder.Reminder{},
	"LifecycleState": agent.Lifecycle{}, "InboxState": inbox.Inbox{},
	"Reversion": events.Reversion{}, "Origin": events.Origin{}, "AgentReversion": events.AgentReversion{}, "Erasure": events.Erasure{},
	"LifecycleChanged": events.LifecycleChange{},
	"TaskCreated":      events.TaskCreate{}, "TaskStarted": events.TaskStart{}, "TaskProgressed": events.TaskProgress{}, "TaskCompleted": events.TaskComplete{},
	"TaskEnded": events.TaskEnd{}, "TaskRetried": events.TaskBack{}, "TaskLeaseExpired": events.TaskLeaseExpire{}, "Retry": events.TaskRetry{},
	"SessionOpened": events.SessionOpen{}, "SessionPut": events.SessionWrite{}, "Plain": events.Plain{},
	"ClaimAcquired": events.ClaimHold{}, "ClaimRenewed": events.ClaimRenewal{}, "ClaimEnded": events.ClaimEnd{},
	"ReminderScheduled": events.ReminderSchedule{}, "ReminderDue": events.ReminderDueTime{}, "ReminderFired": events.ReminderAnswer{},
	"ReminderMissed": events.ReminderMiss{}, "ReminderEnded": events.ReminderEnd{}, "ReminderCommand": events.ReminderCommand{}, "ReminderError": events.ReminderError{},
	"ViewDefined": events.ViewDefinition{}, "InboxRead": events.InboxRead{}, "RequireDeclared": events.RequireBatch{}, "RequireChecked": events.RequireCheck{},
	"ViewStatus": projections.Status{}, "AuditStatus": verify.AuditStatus{},
}

// A shape has exactly the members that its Go type encodes.
func TestShapesAreTheGoTypes(t *testing.T) {
	for name, v := range structs {
		declared := map[string]contract.Field{}
		for _, f := range contract.Shape(contract.Shapes[name].Body) {
			declared[f.Name] = f
		}
		for member, f := range members(reflect.TypeOf(v)) {
			d, ok := declared[member]
			if !ok {
				t.Errorf("%s lacks %s", name, member)
				continue
			}
			optional := strings.Contains(f.Tag.Get("json"), "omit")
			if d.Required == optional {
				t.Errorf("%s.%s: required is %v, and %T has %q", name, member, d.Required, v, f.Tag.Get("json"))
			}
			if isTime := f.Type == reflect.TypeFor[time.Time](); isTime != (strings.TrimSuffix(d.Type, "?") == "time") {
				t.Errorf("%s.%s is %s, and in %T %s", name, member, d.Type, v, f.Type)
			}
			delete(declared, member)
		}
		for member := range declared {
			t.Errorf("%s has %s, and %T has not", name, member, v)
		}
	}
}

// members are the fields of a struct by their JSON names.
func members(typ reflect.Type) map[string]reflect.StructField {
	all := map[string]reflect.StructField{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Anonymous {
			maps.Copy(all, members(f.Type))
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			all[name] = f
		}
	}
	return all
}

// Every declaration is a valid schema, has a description for each member, and names only what
// is declared.
func TestDeclarationsAreWhole(t *testing.T) {
	ref := func(name string) string { return "#/$defs/" + name }
	o := contract.Options{Ref: ref}
	defs := contract.Schema{}
	for name, s := range contract.Shapes {
		defs[name] = s.Schema(o)
		described(t, name, s.Doc, s.Body)
	}
	for typ, ev := range contract.Events {
		defs["event "+typ] = contract.EventSchema(typ, o)
		described(t, typ, ev.Doc, "")
	}
	for _, messages := range []map[string]contract.Message{contract.Commands, contract.Queries} {
		for name, m := range messages {
			defs["request "+name] = m.Request(ref)
			described(t, name, m.Doc, m.Body)
			if _, ok := contract.Shapes[m.AnswerOf()]; !ok {
				t.Errorf("%s: there is no shape %s", name, m.AnswerOf())
			}
			for code := range strings.FieldsSeq(m.Errors) {
				if _, ok := contract.Codes[code]; !ok {
					t.Errorf("%s: there is no error code %s", name, code)
				}
			}
		}
	}
	for name, b := range contract.Buckets {
		if _, ok := contract.Shapes[b.Value]; !ok {
			t.Errorf("%s: there is no shape %s", name, b.Value)
		}
	}
	for name, table := range contract.Tables {
		described(t, name, table.Doc, table.Columns)
	}
	text, err := json.Marshal(contract.Schema{"$schema": contract.Dialect, "$defs": defs})
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve(nil); err != nil {
		t.Error(err)
	}
}

func described(t *testing.T, name, doc, body string) {
	t.Helper()
	if !strings.HasSuffix(doc, ".") {
		t.Errorf("%s has no description: %q", name, doc)
	}
	seen := map[string]bool{}
	for _, f := range contract.Shape(body) {
		if seen[f.Name] || !strings.HasSuffix(f.Doc, ".") {
			t.Errorf("%s.%s is there twice, or has no description: %q", name, f.Name, f.Doc)
		}
		seen[f.Name] = true
	}
}

// Every shape is used.
func TestNoShapeIsLeftOver(t *testing.T) {
	var bodies []string
	use := func(name string) { bodies = append(bodies, "x @"+name) }
	for _, messages := range []map[string]contract.Message{contract.Commands, contract.Queries} {
		for _, m := range messages {
			use(m.AnswerOf())
			bodies = append(bodies, m.Body)
		}
	}
	for _, ev := range contract.Events {
		use(ev.Data)
		if ev.State != "" {
			use(ev.State)
		}
	}
	for _, b := range contract.Buckets {
		use(b.Value)
	}
	for _, ch := range contract.Channels {
		use(ch.Message)
	}
	used := append(contract.Reached(bodies...), "Error", "EventTail", "Sealed", "Erased") // these are named by the schemas
	for name := range contract.Shapes {
		if !slices.Contains(used, name) {
			t.Errorf("%s is not used", name)
		}
	}
}
