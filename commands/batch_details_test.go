package commands_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// TestARefusedBatchNamesWhatTheJournalHas: what a command of an atomic batch lost against is that
// of the journal in the details, also after earlier commands of the batch, which take no effect.
func TestARefusedBatchNamesWhatTheJournalHas(t *testing.T) {
	e := one(t)
	e.accepted("", "set", `{"key":"other","value":1}`)
	first := e.accepted("", "set", `{"key":"k","value":1}`)
	for _, subject := range []string{"config.a1.set", "view.v1.define"} {
		body := map[bool]string{true: `{"key":"k","value":1}`, false: viewOf("state")}[subject[0] == 'c']
		if results, err := e.batch(`{"atomic":true,"commands":[{"subject":"` + subject + `","body":` + body + `}]}`); err != nil || results[0].Err != nil {
			t.Fatalf("%s: %+v, %v", subject, results, err)
		}
	}
	set := func(more string) string { return item("a1", "set", "", `{"key":"k","value":2`+more+`}`) }
	config := func(more string) string {
		return `{"subject":"config.a1.set","body":{"key":"k","value":2` + more + `}}`
	}
	define := func(more string) string {
		return `{"subject":"view.v1.define","body":` + strings.TrimSuffix(viewOf("task"), "}") + more + `}}`
	}
	for _, c := range []struct {
		commands          string
		index             int
		code              string
		version, revision uint64
	}{
		{set("") + "," + set(`,"expected_version":1`), 1, "state.conflict", 1, first.Revision},
		{set(`,"expected_version":7`) + "," + set(""), 0, "state.conflict", 1, first.Revision},
		{set("") + "," + set(`,"strategy":"reject"`), 1, "state.conflict", 1, first.Revision},
		{item("a1", "set", "", `{"key":"new","value":1}`) + "," + item("a1", "set", "", `{"key":"new","value":1,"strategy":"reject"}`), 1, "state.conflict", 0, 0},
		{config("") + "," + config(`,"expected_version":1`), 1, "state.conflict", 1, first.Revision + 1},
		{define(`,"expected_version":1`) + "," + define(`,"expected_version":1`), 1, "state.conflict", 1, first.Revision + 2},
	} {
		_, err := e.batch(`{"atomic":true,"commands":[` + c.commands + `]}`)
		var known *domain.Error
		if !errors.As(err, &known) || known.Code != c.code || known.Details["index"] != c.index || known.Details["version"] != c.version || known.Details["revision"] != c.revision {
			t.Errorf("%s: %v", c.commands, err)
		} else if said := strings.Contains(known.Message, fmt.Sprintf("after earlier commands of the batch; the journal has version %d", c.version)); said != (c.index > 0) {
			t.Errorf("%s: %v", c.commands, err)
		}
	}
}

// TestALossInsideABatchHasItsRevision: a write that lost to one of the same batch has the same
// receipt again, and its record says what it lost against.
func TestALossInsideABatchHasItsRevision(t *testing.T) {
	e := one(t)
	winner, loser, second := youngID(), youngID(), youngID()
	body := `{"atomic":true,"commands":[` + item("a1", "set", winner, `{"key":"k","value":1,"timestamp":"2026-01-02T00:00:00Z"}`) + `,` +
		item("a1", "set", "", `{"key":"between","value":1}`) + `,` +
		item("a1", "set", loser, `{"key":"k","value":2,"timestamp":"2026-01-01T00:00:00Z"}`) + `,` +
		item("a1", "set", second, `{"key":"k","value":3,"timestamp":"2026-01-01T00:00:00Z"}`) + `]}`
	first, err := e.batch(body)
	if err != nil || first[0].Receipt.Revision == 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	for i, id := range map[int]string{2: loser, 3: second} {
		want := first[i].Receipt
		if want.Outcome != domain.Superseded || want.Revision != first[0].Receipt.Revision {
			t.Errorf("%+v", want)
		}
		e.replays(id, "set", fmt.Sprintf(`{"key":"k","value":%d,"timestamp":"2026-01-01T00:00:00Z"}`, i), want)
	}
	losses := e.stored(events.EntryConflicts("a1", "k"))
	if len(losses) != 2 {
		t.Fatalf("%d losses", len(losses))
	}
	for i := range losses {
		if row, err := readmodel.LossOf(&losses[i]); err != nil || row.CurrentVersion != 1 || row.CurrentRevision != first[0].Receipt.Revision {
			t.Errorf("%+v, %v", row, err)
		}
	}
}
