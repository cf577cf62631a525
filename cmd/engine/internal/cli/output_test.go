package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

type named string

// TestNothingMovesTheTerminal: text for people has no character that a terminal
// would obey, whatever clients chose.
func TestNothingMovesTheTerminal(t *testing.T) {
	NoColour([]string{"--no-color"})
	defer NoColour(nil)
	rapid.Check(t, func(t *rapid.T) {
		bad := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\x1b[2J", "a\nb", "\u202eabc", "\x80\xff", "\u009b31m", "a\tb", "\u200b", "\ufffd"}),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		var b bytes.Buffer
		out := &Output{Writer: &b}
		out.Printf("%s %v %s %s %v %d|", bad, errors.New(bad), named(bad), []byte(bad), []string{bad}, 7)
		out.Table("A", func(row func(string, ...any)) { row("%s", bad) })
		if err := out.Document([]byte(`{"k":` + encoded(t, bad) + "}\n")); err != nil {
			t.Fatal(err)
		}
		(&Program{Name: "engine"}).PrintError(Terminal{&b}, errors.New(bad), false)
		for _, c := range b.String() {
			if c != '\n' && !unicode.IsPrint(c) {
				t.Fatalf("%U in %q", c, b.String())
			}
		}
		if !utf8.Valid(b.Bytes()) {
			t.Fatalf("bytes that are no text: %q", b.String())
		}
		if lines := strings.Count(b.String(), "\n") - strings.Count(bad, "\n"); lines != 4 {
			t.Fatalf("%d lines: %q", lines, b.String())
		}
	})
}

func encoded(t *rapid.T, text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDocumentKeepsTheValue: escaping keeps the JSON value, and --json the bytes.
func TestDocumentKeepsTheValue(t *testing.T) {
	for _, doc := range []string{
		"{\"a\" :\r\n\t\"\u202e\u2028\x7f\u0085é😀\U000e0001\\u0001\\n\"}", `[1.0,1e3,"\ud83d\ude00"]`, `"plain"`,
	} {
		var human, machine bytes.Buffer
		if err := errors.Join((&Output{Writer: &human}).Document([]byte(doc)), (&Output{Writer: &machine, AsJSON: true}).Document([]byte(doc))); err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := errors.Join(json.Unmarshal([]byte(doc), &want), json.Unmarshal(human.Bytes(), &got)); err != nil {
			t.Fatalf("%q: %v", human.String(), err)
		}
		w, _ := json.Marshal(want)
		g, _ := json.Marshal(got)
		if !bytes.Equal(w, g) || strings.Count(human.String(), "\n") != 1 {
			t.Errorf("%q is printed as %q", doc, human.String())
		}
		if line := strings.NewReplacer("\r", " ", "\n", " ").Replace(doc) + "\n"; machine.String() != line {
			t.Errorf("--json: %q, want %q", machine.String(), line)
		}
	}
}

// TestErrorsNameNoServer: an error of PostgreSQL's does not show the user, the
// address and the statement behind it.
func TestErrorsNameNoServer(t *testing.T) {
	_, refused := pgconn.Connect(t.Context(), "postgres://secretuser:pw@127.0.0.1:1/secretdb?connect_timeout=2")
	_, parse := pgconn.ParseConfig("postgres://secretuser:pw@127.0.0.1:port/secretdb")
	for _, err := range []error{refused, parse} {
		for _, asJSON := range []bool{false, true} {
			var b bytes.Buffer
			(&Program{}).PrintError(&b, errors.Join(errors.New("verify"), err), asJSON)
			for _, word := range []string{"secret", "pw", "127.0.0.1", "SELECT"} {
				if strings.Contains(b.String(), word) || !strings.Contains(b.String(), "PostgreSQL") {
					t.Errorf("%q shows %s", b.String(), word)
				}
			}
		}
	}
}

// TestLogOfNoPostgres: the log has an error of PostgreSQL's on one line, and each attempt to connect once.
func TestLogOfNoPostgres(t *testing.T) {
	_, refused := pgconn.Connect(t.Context(), "postgres://user@127.0.0.1:1,127.0.0.1:2/db?connect_timeout=2")
	var b bytes.Buffer
	NewLog(&b, "info", "text").Warn("view waits", "error", fmt.Errorf("load the checkpoint: %w", refused))
	text := b.String()
	for _, once := range []string{`\n`, `\t`} {
		if strings.Contains(text, once) {
			t.Errorf("%s in %s", once, text)
		}
	}
	for _, once := range []string{"load the checkpoint: failed to connect to `user=user database=db`: 127.0.0.1:1 ", "dial tcp 127.0.0.1:1: ", "; 127.0.0.1:2 ", "dial tcp 127.0.0.1:2: "} {
		if strings.Count(text, once) != 1 {
			t.Errorf("%q is not once in %s", once, text)
		}
	}
}

// TestNoSpaceEndsALine: an empty reason leaves no space behind, and none before a comma.
func TestNoSpaceEndsALine(t *testing.T) {
	var b bytes.Buffer
	printStatus(&Output{Writer: &b}, &deployment.Status{
		Version: "1", Ready: true, NATS: deployment.NATSStatus{Mode: "embedded"}, Journal: deployment.JournalStatus{Incarnation: "01m8"}, Views: []projections.Status{{Name: "hot", State: "running"}}, Audit: &verify.AuditStatus{State: "running"},
	})
	if text := b.String(); strings.Contains(text, " \n") || strings.Contains(text, " ,") || !strings.Contains(text, "running\n") {
		t.Errorf("%q", text)
	}
}

// TestPrintError: with --json an error is one document: the engine's refusal as
// it came, or an object like it.
func TestPrintError(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind string
		code int
	}{
		{usagef("x"), "usage", 2},
		{errors.Join(errors.New("y"), deployment.ErrUnreachable), "unavailable", 1},
		{errors.Join(deployment.ErrUnreachable, nats.ErrAuthorization), "forbidden", 1},
		{errors.Join(deployment.ErrUnreachable, nats.ErrAuthRevoked), "forbidden", 1},
		{errors.New("<z>\n\x1b"), "failed", 1},
		{&deployment.Refusal{Body: []byte("{\"error\":\n{\"kind\":\"conflict\"}}")}, "conflict", 1},
	} {
		var b bytes.Buffer
		(&Program{}).PrintError(&b, c.err, true)
		var body struct{ Error struct{ Kind string } }
		if err := json.Unmarshal(b.Bytes(), &body); err != nil || body.Error.Kind != c.kind || strings.Count(b.String(), "\n") != 1 {
			t.Errorf("%v: %q", c.err, b.String())
		}
		if got := ExitCode(c.err); got != c.code {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.code)
		}
	}
	var b bytes.Buffer
	(&Program{}).PrintError(&b, ErrFailed, false)
	(&Program{}).PrintError(&b, nil, true)
	if b.Len() > 0 || ExitCode(ErrFailed) != 1 || ExitCode(nil) != 0 {
		t.Errorf("%q", b.String())
	}
}
