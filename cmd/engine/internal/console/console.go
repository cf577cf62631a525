package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Config is what the engine gives its console.
type Config struct {
	Engine     Engine
	Operations Operations
	Auth       bool   // principals sign in; else the console is for this machine alone
	Prefix     string // of every subject, without a final dot; empty = none
	Flags      string // of the command lines that are shown: how they find the engine
	Log        *slog.Logger
}

// Console is the web console of one engine.
type Console struct {
	cfg      Config
	key      [32]byte // of the CSRF tokens
	sessions *sessions
	failures *failures     // of signing in
	streams  chan struct{} // places of live pages
	closing  context.Context
	close    context.CancelFunc
	running  sync.WaitGroup
}

// maxStreams bounds the pages that are live at once. Each takes a connection of the HTTP
// server, which probes need too.
const maxStreams = 48

// New makes a console. Close ends its sessions.
func New(cfg Config) *Console {
	c := &Console{cfg: cfg, failures: newFailures(), streams: make(chan struct{}, maxStreams)}
	_, _ = rand.Read(c.key[:]) // it never fails
	c.closing, c.close = context.WithCancel(context.Background())
	c.sessions = newSessions(cfg.Engine.Connect, cfg.Prefix)
	c.running.Go(func() { c.sessions.expire(c.closing, time.Minute) })
	return c
}

// Close ends the live pages and the connections of the sessions.
func (c *Console) Close() {
	c.close()
	c.running.Wait()
	c.sessions.close()
}

//go:embed assets
var assets embed.FS

// asset is the URL of an asset; another build has another one.
func asset(name string) string { return "/assets/" + name + "?" + assetsVersion() }

var assetsVersion = sync.OnceValue(func() string {
	sum := sha256.New()
	files, _ := assets.ReadDir("assets") // it is embedded
	for _, f := range files {
		text, _ := assets.ReadFile("assets/" + f.Name())
		sum.Write(text)
	}
	return hex.EncodeToString(sum.Sum(nil)[:6])
})

// Register adds the console to a mux. Every other GET is then its page "not found".
func (c *Console) Register(mux *http.ServeMux) {
	mux.Handle("GET /assets/", c.headers(cached(http.FileServerFS(assets))))
	mux.Handle("GET /signin", c.headers(http.HandlerFunc(c.signInPage)))
	mux.Handle("POST /signin", c.headers(http.HandlerFunc(c.signIn)))
	mux.Handle("POST /signout", c.headers(http.HandlerFunc(c.signOut)))
	mux.Handle("POST /actions/{action}", c.headers(http.HandlerFunc(c.act)))
	mux.Handle("GET /agents/{id}/timeline.jsonl", c.headers(http.HandlerFunc(c.export)))
	mux.Handle("GET /", c.headers(http.HandlerFunc(c.unknown)))
	for pattern, p := range c.routes() {
		mux.Handle("GET "+pattern, c.headers(c.serve(p)))
	}
	for pattern, p := range c.operationPages() {
		mux.Handle("GET "+pattern, c.headers(c.serve(p)))
	}
}

// routes are the pages by pattern.
func (c *Console) routes() map[string]page {
	return map[string]page{
		"/{$}":               c.overview,
		"/agents":            c.agents,
		"/agents/{id}":       c.agent,
		"/events/{revision}": c.event,
		"/help":              c.help,
	}
}

// navigation is the order of the pages in the navigation.
var navigation = []struct {
	group string
	links []link
}{
	{"", []link{{"/", "Overview"}}},
	{"State", []link{{"/agents", "Agents"}, {"/tasks", "Tasks"}, {"/conflicts", "Conflicts"}}},
	{"Delivery", []link{{"/dlq", "Dead letters"}, {"/views", "Views"}}},
	{"System", []link{{"/topology", "Topology"}, {"/sql", "SQL"}, {"/help", "Help"}}},
}

type link struct{ path, title string }

// policy allows what the console has: its own script, style and images. The script evaluates
// no text, so there is no unsafe-eval, and no inline script or style is allowed.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// headers replaces the policy of the engine's other endpoints, which allows nothing.
func (c *Console) headers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		h.ServeHTTP(w, r)
	})
}

// cached lets a browser keep what only a new build changes.
func cached(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=86400")
		h.ServeHTTP(w, r)
	})
}

// unknown answers every other path, also to those who may see nothing else.
func (c *Console) unknown(w http.ResponseWriter, r *http.Request) {
	c.refuseWith(w, r, http.StatusNotFound, "There is no such page.", unknownPage())
}

func (c *Console) help(*request) (view, error) {
	return view{title: "Help", nav: "/help", body: helpPage()}, nil
}
