package coordination

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Peers are the other engines on the same journal, known by their heartbeats. They agree
// that a command which one of them answers without an event is not appended by another
// one afterwards. It implements commands.Peers.
type Peers struct {
	nc        *nats.Conn
	root      string // "engines."
	self      string
	withdrawn func(ctx context.Context, message string) bool

	mu     sync.Mutex
	heard  map[string]time.Time // of another engine
	asked  map[string]*question
	number uint64
}

// question is a withdrawal that other engines have not all answered.
type question struct {
	open    map[string]bool // engines
	unknown bool
	done    chan struct{}
}

const (
	heartbeat  = time.Second
	peerMissed = 3500 * time.Millisecond // an engine without a heartbeat for so long is gone
	// peerWait is longer than the pause after which an engine appends nothing of what it
	// decided before.
	peerWait = 2200 * time.Millisecond
)

var errUnknown = errors.New("another engine has an append of this command under way")

// StartPeers joins the other engines. withdrawn answers their questions: false = an append
// of the command may have been stored.
func StartPeers(nc *nats.Conn, s natsio.Subjects, withdrawn func(ctx context.Context, message string) bool) (*Peers, error) {
	p := &Peers{
		nc: nc, root: s.Root("engines."), self: nuid.Next(), withdrawn: withdrawn,
		heard: map[string]time.Time{}, asked: map[string]*question{},
	}
	for subject, handle := range map[string]nats.MsgHandler{
		"here":             p.here,
		"gone":             p.gone,
		"withdraw":         p.withdraw,
		"answer." + p.self: p.answer,
	} {
		if _, err := nc.Subscribe(p.root+subject, handle); err != nil {
			return nil, fmt.Errorf("join the other engines: %w", err)
		}
	}
	if err := p.say("here", "hello"); err != nil {
		return nil, fmt.Errorf("join the other engines: %w", err)
	}
	return p, nc.FlushTimeout(5 * time.Second)
}

// Run says that this engine is here until ctx ends, and then that it is gone.
func (p *Peers) Run(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = p.say("here", "") // it fails on a closed connection only
		case <-ctx.Done():
			_ = p.say("gone", "")
			_ = p.nc.FlushTimeout(time.Second)
			return
		}
	}
}

func (p *Peers) say(subject, text string) error {
	return p.nc.PublishMsg(&nats.Msg{Subject: p.root + subject, Data: []byte(text), Header: nats.Header{engineHeader: []string{p.self}}})
}

func (p *Peers) here(m *nats.Msg) {
	id := m.Header.Get(engineHeader)
	if id == p.self || id == "" {
		return
	}
	p.mu.Lock()
	p.heard[id] = time.Now()
	p.mu.Unlock()
	if string(m.Data) == "hello" {
		_ = p.say("here", "") // the next heartbeat repeats it
	}
}

func (p *Peers) gone(m *nats.Msg) { p.lose(m.Header.Get(engineHeader)) }

// lose takes an engine for gone: no question waits for it.
func (p *Peers) lose(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.heard, id)
	for number, q := range p.asked {
		p.close(number, q, id)
	}
}

// close takes an engine off a question; the caller holds the lock.
func (p *Peers) close(number string, q *question, id string) {
	if delete(q.open, id); len(q.open) == 0 {
		delete(p.asked, number)
		close(q.done)
	}
}

// present are the engines that may work; the caller holds the lock.
func (p *Peers) present() map[string]bool {
	all := make(map[string]bool, len(p.heard))
	for id, at := range p.heard {
		if time.Since(at) > peerMissed {
			delete(p.heard, id)
			continue
		}
		all[id] = true
	}
	return all
}

// Any implements commands.Peers.
func (p *Peers) Any() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.heard) > 0 && len(p.present()) > 0
}

// Withdraw implements commands.Peers.
func (p *Peers) Withdraw(ctx context.Context, message string) error {
	p.mu.Lock()
	q := &question{open: p.present(), done: make(chan struct{})}
	if len(q.open) == 0 {
		p.mu.Unlock()
		return nil
	}
	p.number++
	number := strconv.FormatUint(p.number, 10)
	p.asked[number] = q
	p.mu.Unlock()
	err := p.nc.PublishMsg(&nats.Msg{
		Subject: p.root + "withdraw", Data: []byte(number + " " + message), Header: nats.Header{engineHeader: []string{p.self}},
	})
	if err != nil {
		return fmt.Errorf("ask the other engines: %w", err)
	}
	late := time.NewTimer(peerWait)
	defer late.Stop()
	select {
	case <-q.done:
	case <-late.C:
		for id := range p.missing(number, q) {
			p.lose(id)
		}
	case <-ctx.Done():
		p.missing(number, q)
		return fmt.Errorf("ask the other engines: %w", context.Cause(ctx))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.unknown {
		return errUnknown
	}
	return nil
}

// missing ends a question and returns the engines that have not answered it.
func (p *Peers) missing(number string, q *question) map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.asked, number)
	return maps.Clone(q.open)
}

// withdraw answers the question of another engine.
func (p *Peers) withdraw(m *nats.Msg) {
	id := m.Header.Get(engineHeader)
	number, message, ok := strings.Cut(string(m.Data), " ")
	if id == "" || id == p.self || !ok {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), peerWait-700*time.Millisecond) // the answer comes in time
		defer cancel()
		text := "done "
		if !p.withdrawn(ctx, message) {
			text = "unknown "
		}
		_ = p.say("answer."+id, text+number) // without an answer the other engine waits and goes on
	}()
}

func (p *Peers) answer(m *nats.Msg) {
	said, number, _ := strings.Cut(string(m.Data), " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	q, id := p.asked[number], m.Header.Get(engineHeader)
	if q == nil || !q.open[id] {
		return
	}
	q.unknown = q.unknown || said != "done"
	p.close(number, q, id)
}
