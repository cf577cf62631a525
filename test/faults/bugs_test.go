package faults

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// planted is a mistake in a copy of the engine: a failpoint with code, put before the only line
// of a file that has the text.
type planted struct{ name, file, before, code string }

// plant adds the bugs of a file to its text.
func plant(file string, text []byte) ([]byte, error) {
	for _, b := range plants {
		if filepath.FromSlash(b.file) != file {
			continue
		}
		if n := bytes.Count(text, []byte(b.before)); n != 1 {
			return nil, fmt.Errorf("bug %s: %s has %d times %q: name the place where the bug belongs now", b.name, b.file, n, b.before)
		}
		at := bytes.LastIndexByte(text[:bytes.Index(text, []byte(b.before))], '\n') + 1
		bug := fmt.Sprintf("\n// gofail: var %s struct{}\n// %s\n", b.name, b.code)
		text = bytes.Join([][]byte{text[:at], text[at:]}, []byte(bug))
	}
	return text, nil
}

// TestPlants: every mistake has its place in the product's code. It builds nothing, so that it
// runs with the race detector too.
func TestPlants(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range plants {
		if seen[b.file] {
			continue
		}
		seen[b.file] = true
		text, err := os.ReadFile(filepath.Join("../..", filepath.FromSlash(b.file)))
		if err == nil {
			_, err = plant(filepath.FromSlash(b.file), text)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// plants are the mistakes. Those whose names begin with odd are harmless alone: they only make a
// bug show itself.
var plants = []planted{
	{"bugDedup", "commands/dedup.go", "if last.commandID == cmd.CommandID || unsure || outsideWindow", "return Receipt{}, false, nil"},
	{"bugMessageID", "infra/natsio/journal/append.go", `if w.ID != "" {`, `w.ID = ""`},
	{"bugAckFirst", "commands/execute.go", "done, err := h.store(ctx, history.Writes(name",
		"go func() { time.Sleep(time.Second); _, _ = h.journal.Append(context.WithoutCancel(ctx), history.Writes(name, last.revision, cmd.messageID(), evs)) }();" +
			" return &head{revision: last.revision + 1, version: last.version + 1, digest: evs[0].Digest}, nil, nil"},
	{"oddKeepHead", "commands/execute.go", "h.heads.put(name, next)", "h.heads.put(name, last); h.cfg.Observe(rec); return next, nil, nil"},
	{"bugSequence", "infra/natsio/journal/append.go", "if w.First {", "w.First = false"},
	{"bugCheckpoint", "infra/pg/durable/view.go", "t.queueRows(b, &c)", "return tx.SendBatch(ctx, b).Close()"},
	{"bugOldRow", "infra/natsio/hot/bucket_put.go", "b.send(ctx, puts, header)",
		"if old, err := natsio.LastMessage(ctx, b.nc, b.stream, b.prefix+puts[0].key); err == nil && len(old.Data) > 0 { defer func() {" +
			" _, _ = b.js.PublishMsg(context.WithoutCancel(ctx), &nats.Msg{Subject: old.Subject, Data: old.Data, Header: nats.Header{positionHeader: header[positionHeader]}}) }() }"},
	{"bugSkip", "projections/fold.go", "m := &batch[i]\n\t\tif m.Bad == nil {", "if i == len(batch)-1 { continue }"},
	{"bugToken", "readmodel/tiers/tiers.go", "p := t.Journal.Partition(agent)", "after = 0"},
	{"bugStrong", "readmodel/tiers/tiers.go", "e, found, _, err := t.Journal.Last(ctx, agent, key)",
		"if a, found, err := t.hot(ctx, p, agent, key, 0); err == nil && found { return a, nil }"},
	{"bugMemory", "readmodel/tiers/memory.go", "raise(&m.last[partition][m.stripe(e.Agent, e.Key)], e.Revision)", "return"},
	{"bugFlush", "readmodel/tiers/hydrator.go", "keys, revision = make([]string, 0, len(dirty)), position", "dirty = dirty[min(1, len(dirty)):]"},
	{"oddTimer", "infra/natsio/coordination/timers.go", "if at.After(t.server.time()) {", "at = time.Now()"},
	{"bugEarly", "commands/reactors/deadline.go", "if now().Before(t.Deadline) {", "t.Deadline = now()"},
	{"bugTimer", "infra/natsio/coordination/timers.go", `msg := &nats.Msg{Subject: t.root + "due." + name`, "return nil"},
	{"bugOutbox", "infra/pg/outbox/execute.go", "done <- result{id: r.id, done: true, outcome: string(receipt.Encode())}",
		"o.Handle(context.WithoutCancel(ctx), commands.Request{Aggregate: r.aggregate, ID: r.aggregateID, Verb: r.verb, Body: []byte(*r.body)}, func(commands.Receipt, error) {})"},
	{"bugLoser", "commands/execute.go", "if d.Loss != nil {", "d.Loss = nil"},
	{"bugVersion", "commands/execute.go", "ev.CommandID, ev.Actor, ev.Schema = cmd.CommandID, cmd.actor, events.Schema", "ev.Version = max(last.version, 1)"},
	{"bugDigest", "commands/execute.go", "if digest, err = events.Chain(digest, ev)", `digest = ""`},
	{"bugReplay", "commands/dedup.go", "r := h.receipt(cmd, e.outcome", "e.version++"},
	{"bugReady", "cmd/engine/internal/app/http.go", "report, all := e.report(r)\n\tanswer := struct", `fmt.Fprintln(w, "{}"); return`},
	{"bugOutcome", "infra/natsio/intake/outcome.go", "msg.Header.Set(headerSequence", "return nil"},
	{"bugEvict", "commands/lifecycle.go", "if h.cfg.Evictor != nil {", "return"},
	{"bugShadow", "infra/pg/durable/shadow.go", "s.fold.queueRows(b, &c)", "c.Entries = c.Entries[min(1, len(c.Entries)):]"},
	{"bugBatch", "infra/natsio/journal/append.go", "if len(msgs) > 1 {", "msgs = msgs[:1]"},
	{"bugFeed", "infra/natsio/feeds/feeds.go", "byStream[stream] = append(byStream[stream], t.message(subject, rec, rec.Published()))", "continue"},
}

// bug is a set of plants that are in force together, the failpoints that make it show itself, and
// the scene that must show it.
type bug struct {
	name  string
	terms string // of the bug
	sign  string // what one of the checkers must say, as a regular expression
	scene *scene
}

// bugs are what the checkers must catch.
var bugs = []bug{
	{"a repeated command takes effect again", "bugDedup=return;bugMessageID=return", "took effect before", everyday},
	{"a command is acknowledged before its append", "bugAckFirst=5.0%return", "and lost", everyday},
	{"an append does not expect a sequence", "bugSequence=return", "follows version", everyday},
	{"a checkpoint moves without its rows", "bugCheckpoint=50.0%return", "^SQL (has|lacks)|could have seen", everyday},
	{"KV gets an older row over a newer one", "bugOldRow=50.0%return", "^KV (has|lacks|shows)|could have seen", everyday},
	{"views skip an event", "bugSkip=50.0%return", "^(KV|SQL) (has|lacks|shows)|could have seen", everyday},
	{"a read does not wait for its token", "bugToken=return", "could have seen", everyday},
	{"a strong read is answered from KV", "bugStrong=return", "could have seen|no order", everyday},
	{"memory misses an event", "bugMemory=return", "could have seen", everyday},
	{"a timer fires early", "bugEarly=return", "before its deadline", everyday},
	{"a timer is lost", "bugTimer=50.0%return", "the end of tasks", everyday},
	{"the relay sends a row twice", "bugOutbox=50.0%return", "no client sent command", everyday},
	{"a losing write is not kept", "bugLoser=return", "not kept as one", everyday},
	{"a version is used twice", "bugVersion=5.0%return", "follows version", everyday},
	{"a digest does not follow from the one before", "bugDigest=5.0%return", "its digest is", everyday},
	{"a replayed receipt differs from the first", "bugReplay=return", "acknowledged at .* it is at", everyday},
	{"an outcome is lost", "bugOutcome=30.0%return", "outcomes of enqueued commands", everyday},
	{"an atomic batch is stored in part", "bugBatch=30.0%return", "commands of batch|and lost|the end of tasks", everyday},
	{"the feed misses an event", "bugFeed=10.0%return", "the feed has revision .* 0 times", everyday},
	{"a flush forgets a key", "bugFlush=return", "SQL has 4 of 5 keys", flushing},
	{"/readyz is always 200", "bugReady=return", "/readyz says 200", startingUp},
	{"an agent is evicted and does not expire", "bugEvict=return", "KV lacks", expiring},
	{"a rebuild swaps a shadow that lacks rows", "bugShadow=return", "SQL lacks", rebuilding},
}
