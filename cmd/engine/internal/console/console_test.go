package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

func TestPointOfAURL(t *testing.T) {
	for in, want := range map[string]point{
		"":                                 {},
		"revision=7":                       {revision: 7},
		"revision=7&time=2026-01-01":       {revision: 7},
		"time=2026-01-02T03:04":            {at: "2026-01-02T03:04:00Z"},
		"time=2026-01-02T03:04:05.5":       {at: "2026-01-02T03:04:05.5Z"},
		"time=2026-01-02T03:04:05%2B02:00": {at: "2026-01-02T01:04:05Z"},
		"revision=x":                       {problem: "x is not a revision"},
		"revision=0":                       {problem: "0 is not a revision"},
		"time=yesterday":                   {problem: "yesterday is not a time like 2026-01-31T12:00:00Z"},
	} {
		q, err := url.ParseQuery(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := pointOf(q); got != want {
			t.Errorf("%q: %+v, want %+v", in, got, want)
		}
	}
}

// What follows a long value does not stand behind its size without a space.
func TestTheSizeOfALongValueHasALine(t *testing.T) {
	var page strings.Builder
	if err := brief(json.RawMessage(`"`+strings.Repeat("x", 2*briefLength)+`"`)).Render(t.Context(), &page); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(page.String(), "… the beginning of 8.0 KiB</div>") {
		t.Errorf("the end is %q", page.String()[page.Len()-60:])
	}
}

func TestPagesOfTwoMomentsAreCompared(t *testing.T) {
	e := func(key string, revision uint64, value string) entry {
		return entry{Key: key, Revision: revision, Value: json.RawMessage(value)}
	}
	then := entriesPage{Entries: []entry{e("a", 1, `{"x":1}`), e("b", 2, `1`), e("d", 3, `1`)}}
	now := entriesPage{Entries: []entry{e("a", 9, `{"x":12345678901234567890}`), e("c", 8, `1`), e("d", 3, `1`)}}
	kinds := func(rows []comparison) (of []string) {
		for i := range rows {
			of = append(of, rows[i].key+" "+rows[i].kind())
		}
		return of
	}
	rows, cursor := compare(then, now)
	if got := kinds(rows); cursor != "" || !reflect.DeepEqual(got, []string{"a changed", "b removed", "c added", "d "}) {
		t.Error(got, cursor)
	}
	if got := rows[0].ops; !reflect.DeepEqual(got, []string{"~ /x 12345678901234567890"}) {
		t.Error(got)
	}
	now.Cursor, now.Entries = "c", now.Entries[:2] // what is beyond the shorter page is not compared yet
	if rows, cursor = compare(then, now); cursor != "c" || !reflect.DeepEqual(kinds(rows), []string{"a changed", "b removed", "c added"}) {
		t.Error(kinds(rows), cursor)
	}
}

// The digest of an event as the wire reference defines it: RFC 8785, numbers as doubles.
func TestDigestOfAnEvent(t *testing.T) {
	form, err := digested(json.RawMessage(`{"b":1.0,"a":{"z":"é","y":[1e2]},"digest":"x","revision":7}`))
	if want := `{"a":{"y":[100],"z":"é"},"b":1}`; err != nil || string(form) != want {
		t.Errorf("%s, want %s: %v", form, want, err)
	}
}

func TestPathsAfterASignInStayHere(t *testing.T) {
	for in, want := range map[string]string{
		"/agents?x=1": "/agents?x=1", "": "/", "agents": "/", "//evil.example": "/", "https://evil.example": "/",
		`/\evil.example`: "/", "/a\r\nb": "/", "/\t/evil.example": "/",
	} {
		if got := local(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestFailedSignInsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailures()
		from := func(addr string) *http.Request {
			r := httptest.NewRequest(http.MethodPost, "/signin", nil)
			r.RemoteAddr = addr
			return r
		}
		one, same, other := from("[2001:db8::1]:1"), from("[2001:db8::2]:2"), from("192.0.2.1:1")
		for range signInBurst {
			if !f.may(one) {
				t.Fatal("too early")
			}
			f.add(one)
		}
		if f.may(one) || f.may(same) || !f.may(other) {
			t.Error("the network that has failed waits, and no other one")
		}
		time.Sleep(signInPause)
		if !f.may(one) {
			t.Error("it waits for ever")
		}
		f.forget(one)
		if !f.may(same) {
			t.Error("a success does not count")
		}
	})
}

// Sessions end when they are not used, when they are old, and when there are too many.
func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(func(string) (*nats.Conn, error) { return nil, errors.New("none") }, "")
		add := func() string { return s.add(&session{nc: new(open), begun: time.Now(), used: time.Now()}) }
		idle := add()
		if s.find(idle) == nil || s.find("other") != nil {
			t.Fatal("a session is found by its cookie")
		}
		time.Sleep(idleTimeout + time.Second)
		if s.find(idle) != nil {
			t.Error("an idle session stays")
		}
		busy := add()
		for range int(maxAge/idleTimeout) + 1 {
			time.Sleep(idleTimeout - time.Second)
			s.find(busy)
		}
		time.Sleep(idleTimeout)
		if s.find(busy) != nil {
			t.Error("an old session stays")
		}
		watched := &session{nc: new(open), begun: time.Now(), used: time.Now()}
		cookie := s.add(watched)
		for range 4 {
			time.Sleep(idleTimeout - time.Second)
			if !s.keep(watched) {
				t.Error("a session with an open page has ended")
			}
		}
		time.Sleep(idleTimeout + time.Second)
		if s.keep(watched) || s.find(cookie) != nil {
			t.Error("it stays after the page")
		}
		first := add()
		time.Sleep(time.Second)
		for range maxSessions {
			add()
		}
		if len(s.of) != maxSessions || s.find(first) != nil {
			t.Errorf("%d sessions", len(s.of))
		}
	})
}

// One principal takes neither the sessions nor the live pages of others.
func TestOnePrincipalLeavesRoom(t *testing.T) {
	s := newSessions(func(string) (*nats.Conn, error) { return nil, errors.New("none") }, "")
	add := func(holder string) (string, *session) {
		one := &session{nc: new(open), begun: time.Now(), used: time.Now(), holder: holder}
		return s.add(one), one
	}
	cookie, other := add("other")
	var one *session
	for range maxSessions + 1 {
		_, one = add("one")
	}
	if len(s.of) != maxOfOne+1 || s.find(cookie) != other {
		t.Errorf("%d sessions", len(s.of))
	}
	var leave []func()
	for range maxOfOne {
		end, ok := s.follow(one)
		if !ok {
			t.Fatal("a live page is refused")
		}
		leave = append(leave, end)
	}
	if _, ok := s.follow(one); ok {
		t.Error("one principal has more live pages than it may have")
	}
	end, ok := s.follow(other)
	if !ok {
		t.Error("another principal has none")
	}
	for _, end := range append(leave, end) {
		end()
	}
	if len(s.live) != 0 {
		t.Errorf("%v are remembered", s.live)
	}
}

func TestHiddenCharactersAreShown(t *testing.T) {
	if got, want := visible("a\u202eb\x1b[0m\n\tc"), "a\\u202eb\\u001b[0m\n\tc"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A stream's event ends at no line that a value holds.
func TestAnEventOfAStreamHoldsItsBody(t *testing.T) {
	w := &deadlines{httptest.NewRecorder()}
	if err := send(http.NewResponseController(w), w, "page", []byte("a\nevent: gone\r\rb")); err != nil {
		t.Fatal(err)
	}
	if got, want := w.Body.String(), "event: page\ndata: a\ndata: event: gone&#13;&#13;b\n\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetWriteDeadline(time.Time) error { return nil }

// The shell gets one word, whatever a value holds.
func TestCommandLinesAreQuoted(t *testing.T) {
	c := &Console{cfg: Config{Flags: " --data d", Prefix: "acme"}}
	got := c.engineLine("send", "commands.agent.a.set", map[string]any{"key": "k", "value": json.RawMessage(`"it's $(here) <b>"`)})
	if want := `engine send --data d acme.commands.agent.a.set '{"key":"k","value":"it'\''s $(here) <b>"}'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !strings.HasPrefix(c.subject("x"), "acme.") {
		t.Error("no prefix")
	}
}

// open is a connection that is open until it is closed.
type open bool

func (c *open) IsClosed() bool { return bool(*c) }
func (c *open) Close()         { *c = true }
