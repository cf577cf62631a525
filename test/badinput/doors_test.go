package badinput

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// verdict is an error as a door answers it.
type verdict struct {
	Error struct {
		Code    string
		Status  int
		Message string
	}
}

// door sends cases and returns the answer to each that it can take, by its index.
type door struct {
	name  string
	least int // cases that it must take
	takes func(Case) bool
	send  func(t *testing.T, c *harness.Client, cases map[int]Case) map[int][]byte
}

// TestEveryDoorGivesTheSameVerdict sends all bad requests through each door of one
// engine, without waiting in between. Nothing is appended, and the engine still works.
func TestEveryDoorGivesTheSameVerdict(t *testing.T) {
	t.Parallel()
	e := harness.Start(t, harness.Config{Args: []string{"--lifecycle", "manual", "--search"}})
	c := e.Client(t)
	c.MustSet(t, "a1", "there", 1, nil)
	before := len(c.Journal(t))
	commands, queries := Commands(time.Now().Add(time.Minute)), Queries()
	if n := len(commands) + len(queries); n < 600 {
		t.Errorf("there are %d cases", n)
	}
	for _, d := range []door{
		{"request", 600, sendable, requests("commands.")},
		{"batch", 500, quotable, batches},
		{"enqueue", 500, func(c Case) bool { return sendable(c) && c.ID == "" && !wildcard(c) }, enqueue},
		{"outbox", 400, func(c Case) bool { return storable(c) && c.ID == "" }, outbox},
	} {
		d.check(t, c, commands)
	}
	door{"query", 140, sendable, requests("queries.")}.check(t, c, queries)
	door{"tasks.next", 30, sendable, requests("commands.")}.check(t, c, Next())
	if after := len(c.Journal(t)); after != before {
		t.Errorf("the journal has %d events, %d before", after, before)
	}
	c.MustSet(t, "a1", "there", 2, nil)
	c.MustGet(t, "a1", "there", nil)
}

func (d door) check(t *testing.T, c *harness.Client, all []Case) {
	t.Helper()
	cases := map[int]Case{}
	for i, no := range all {
		if d.takes(no) {
			cases[i] = no
		}
	}
	began := time.Now()
	answers := d.send(t, c, cases)
	t.Logf("%s: %d cases in %s", d.name, len(cases), time.Since(began).Round(time.Millisecond))
	if len(cases) < d.least || len(answers) != len(cases) {
		t.Errorf("%s: %d answers to %d cases, want at least %d", d.name, len(answers), len(cases), d.least)
	}
	for i, answer := range answers {
		no, what := cases[i], fmt.Sprintf("%s: %.60q %.100q", d.name, cases[i].Subject, cases[i].Body)
		var v verdict
		if err := json.Unmarshal(answer, &v); err != nil {
			t.Errorf("%s: answered with %.200q, %v", what, answer, err)
		} else if v.Error.Status != no.Status || v.Error.Code != no.Code || !strings.Contains(v.Error.Message, no.Place) {
			t.Errorf("%s: %d %s naming %q expected, got %.300s", what, no.Status, no.Code, no.Place, answer)
		}
		if bytes.Contains(answer, []byte(`\u003`)) {
			t.Errorf("%s: characters are escaped: %s", what, answer)
		}
	}
}

// sendable reports whether a client can send the case as a message. The server ends
// connections that send a subject of more than 4 KiB.
func sendable(c Case) bool {
	return len(c.Subject) < 4000 && !strings.ContainsFunc(c.Subject, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) &&
		!strings.ContainsFunc(c.ID, unicode.IsControl) && !strings.Contains("."+c.Subject+".", "..")
}

// quotable reports whether the case can be a part of a JSON document.
func quotable(c Case) bool {
	body := strings.TrimSpace(c.Body)
	return utf8.ValidString(c.Subject) && utf8.ValidString(c.ID) && !strings.Contains(c.ID+c.Subject, "\x00") && body == c.Body && (body == "" || json.Valid([]byte(body)))
}

// storable reports whether Postgres takes the texts of the case, and the relay reads the whole
// subject.
func storable(c Case) bool {
	return len(c.Subject) <= 2048 && utf8.ValidString(c.Subject+c.Body) && !strings.Contains(c.Subject+c.Body, "\x00")
}

// wildcard reports whether the subject is a pattern, under which no stream stores.
func wildcard(c Case) bool {
	return slices.ContainsFunc(strings.Split(c.Subject, "."), func(token string) bool { return token == "*" || token == ">" })
}

func requests(root string) func(*testing.T, *harness.Client, map[int]Case) map[int][]byte {
	return func(t *testing.T, c *harness.Client, cases map[int]Case) map[int][]byte {
		inbox := c.NewInbox() + "."
		sub, err := c.SubscribeSync(inbox + "*")
		harness.Must(t, err)
		defer func() { _ = sub.Unsubscribe() }()
		harness.Must(t, sub.SetPendingLimits(-1, -1))
		for i, no := range cases {
			msg := &nats.Msg{Subject: root + no.Subject, Reply: inbox + strconv.Itoa(i), Data: []byte(no.Body), Header: nats.Header{}}
			if no.ID != "" {
				msg.Header.Set("nats-msg-id", no.ID)
			}
			harness.Must(t, c.PublishMsg(msg))
		}
		return receive(t, sub, inbox, len(cases))
	}
}

// receive collects n messages by the number that ends their subjects.
func receive(t *testing.T, sub *nats.Subscription, prefix string, n int) map[int][]byte {
	t.Helper()
	answers := map[int][]byte{}
	for len(answers) < n {
		msg, err := sub.NextMsg(30 * time.Second)
		if err != nil {
			t.Errorf("%d of %d answers, then %v", len(answers), n, err)
			return answers
		}
		i, err := strconv.Atoi(strings.TrimPrefix(msg.Subject, prefix))
		harness.Must(t, err)
		answers[i] = msg.Data
	}
	return answers
}

func batches(t *testing.T, c *harness.Client, cases map[int]Case) map[int][]byte {
	answers := map[int][]byte{}
	var items []string
	var numbers []int
	size := 0
	flush := func() {
		msg, err := c.Request("commands.batch", []byte(`{"commands":[`+strings.Join(items, ",")+`]}`), 30*time.Second)
		harness.Must(t, err)
		var body struct{ Results []json.RawMessage }
		if err := json.Unmarshal(msg.Data, &body); err != nil || len(body.Results) != len(items) {
			t.Errorf("a batch of %d: %.300s, %v", len(items), msg.Data, err)
			return
		}
		for i, result := range body.Results {
			answers[numbers[i]] = result
		}
		items, numbers, size = nil, nil, 0
	}
	for i, no := range cases {
		subject, id := quote(no.Subject), quote(no.ID)
		item := `{"subject":` + subject + `,"id":` + id
		if no.Body != "" {
			item += `,"body":` + no.Body
		}
		items, numbers, size = append(items, item+"}"), append(numbers, i), size+len(item)
		if len(items) == 500 || size > 2<<20 {
			flush()
		}
	}
	flush()
	return answers
}

func quote(s string) string {
	b, _ := json.Marshal(s) // a string
	return string(b)
}

func enqueue(t *testing.T, c *harness.Client, cases map[int]Case) map[int][]byte {
	sub, err := c.SubscribeSync("outcomes.*")
	harness.Must(t, err)
	defer func() { _ = sub.Unsubscribe() }()
	harness.Must(t, sub.SetPendingLimits(-1, -1))
	for i, no := range cases {
		msg := &nats.Msg{Subject: "enqueue." + no.Subject, Data: []byte(no.Body), Header: nats.Header{nats.MsgIdHdr: {"bad-" + strconv.Itoa(i)}}}
		_, err := c.JS.PublishMsgAsync(msg)
		harness.Must(t, err)
	}
	return receive(t, sub, "outcomes.bad-", len(cases))
}

func outbox(t *testing.T, c *harness.Client, cases map[int]Case) map[int][]byte {
	sql := c.SQL(t)
	var ids, subjects, bodies []string
	for i, no := range cases {
		ids, subjects, bodies = append(ids, strconv.Itoa(i)), append(subjects, no.Subject), append(bodies, no.Body)
	}
	_, err := sql.Exec(t.Context(), `INSERT INTO agents.outbox (command_id, subject, body)
		SELECT b.id, b.subject, b.body::text FROM unnest($1::text[], $2::text[], $3::text[]) AS b (id, subject, body)`, ids, subjects, bodies)
	harness.Must(t, err)
	answers := map[int][]byte{}
	harness.Eventually(t, "the outbox is relayed", func() error {
		rows, err := sql.Query(t.Context(), `SELECT command_id::int, outcome FROM agents.outbox WHERE done_at IS NOT NULL`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var i int
			var outcome []byte
			if err := rows.Scan(&i, &outcome); err != nil {
				return err
			}
			answers[i] = outcome
		}
		if len(answers) < len(cases) {
			return fmt.Errorf("%d of %d rows are done, %v", len(answers), len(cases), rows.Err())
		}
		return rows.Err()
	})
	return answers
}
