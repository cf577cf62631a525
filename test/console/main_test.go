// Package console uses the web console of a running engine over HTTP, as a browser does
// without its script, and as an attacker does.
package console

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type M = harness.M

// browser keeps cookies and remembers the token of the forms that it has seen.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
	csrf   string
	set    *http.Cookie // the cookie that the console has set last
}

func newBrowser(t *testing.T, e *harness.Engine) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	harness.Must(t, err)
	transport := &http.Transport{DisableKeepAlives: true}
	b := &browser{t: t, base: e.HTTPURL, client: &http.Client{Jar: jar, Transport: transport}}
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return b
}

// page is an answer.
type page struct {
	status int
	header http.Header
	body   string
}

// text is the page without its tags.
func (p page) text() string {
	return html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(p.body, " "))
}

func (b *browser) do(r *http.Request) page {
	b.t.Helper()
	resp, err := b.client.Do(r)
	harness.Mustf(b.t, err, "%s %s", r.Method, r.URL)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	harness.Mustf(b.t, err, "%s %s", r.Method, r.URL)
	if m := regexp.MustCompile(`name="csrf" value="([^"]*)"`).FindStringSubmatch(string(body)); m != nil {
		b.csrf = m[1]
	}
	for _, c := range resp.Cookies() {
		b.set = c
	}
	return page{resp.StatusCode, resp.Header, string(body)}
}

func (b *browser) get(path string) page {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.base+path, nil)
	harness.Must(b.t, err)
	return b.do(r)
}

// must gets a page that is there.
func (b *browser) must(path string, texts ...string) page {
	b.t.Helper()
	p := b.get(path)
	if p.status != http.StatusOK {
		b.t.Fatalf("%s: %d %s", path, p.status, p.text())
	}
	for _, text := range texts {
		if !strings.Contains(p.text(), text) {
			b.t.Errorf("%s: no %q in %s", path, text, p.text())
		}
	}
	return p
}

// post sends a form with the token that was seen last; pairs are names and values in turn.
func (b *browser) post(path string, pairs ...string) page {
	b.t.Helper()
	form := url.Values{"csrf": {b.csrf}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.base+path, strings.NewReader(form.Encode()))
	harness.Must(b.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(r)
}

// confirm asks for an action and returns the page that asks back, with its command id.
func (b *browser) confirm(action string, pairs ...string) (p page, id string) {
	b.t.Helper()
	p = b.post("/actions/"+action, pairs...)
	m := regexp.MustCompile(`name="command_id" value="([^"]*)"`).FindStringSubmatch(p.body)
	if p.status != http.StatusOK || m == nil {
		b.t.Fatalf("%s is not confirmed: %d %s", action, p.status, p.text())
	}
	return p, m[1]
}

// act confirms an action and carries it out.
func (b *browser) act(action string, pairs ...string) page {
	b.t.Helper()
	_, id := b.confirm(action, pairs...)
	return b.post("/actions/"+action, append(pairs, "command_id", id)...)
}

// signIn signs in.
func (b *browser) signIn(credentials string) {
	b.t.Helper()
	b.must("/signin")
	before := b.set.Value
	p := b.post("/signin", "credentials", credentials, "to", "/agents")
	if p.status != http.StatusSeeOther || p.header.Get("Location") != "/agents" {
		b.t.Fatalf("sign-in: %d %s", p.status, p.text())
	}
	if b.set.Value == before {
		b.t.Error("the cookie from before the sign-in is that of the session")
	}
}

func (b *browser) url() *url.URL {
	u, err := url.Parse(b.base)
	harness.Must(b.t, err)
	return u
}

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
