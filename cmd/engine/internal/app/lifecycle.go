package app

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/internal/redact"
)

// stops are the functions that stop what has started.
type stops []stopStep

type stopStep struct {
	stop   func(context.Context)
	server bool // of our own: no process, and no write of it, may outlive the engine
}

func (s *stops) add(f func(context.Context)) { *s = append(*s, stopStep{stop: f}) }

func (s *stops) addServer(f func(context.Context)) { *s = append(*s, stopStep{f, true}) }

// lateStep is how long a step may take once the time for all of them is over.
const lateStep = 50 * time.Millisecond

// run calls them, the last one first. When ctx ends it no longer waits for a step that a
// store does not answer; the next start makes good what that leaves undone. It waits for
// the engine's own servers in any case.
func (s *stops) run(ctx context.Context) {
	for len(*s) > 0 {
		// gofail: var stopping struct{}
		last := len(*s) - 1
		step := (*s)[last]
		*s = (*s)[:last]
		done := make(chan struct{})
		go func() {
			defer close(done)
			step.stop(ctx)
		}()
		if step.server {
			<-done
			continue
		}
		select {
		case <-done:
			continue
		case <-ctx.Done():
		}
		select {
		case <-done:
		case <-time.After(lateStep):
		}
	}
}

// inBackground runs f until stop is called; stop waits for its end.
func inBackground(f func(ctx context.Context)) (stop func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	return func(context.Context) {
		cancel()
		running.Wait()
	}
}

// writeNotes writes the engine's addresses and, for an embedded server, its
// credentials into the data directory. Who finds the addresses finds the credentials.
func (e *Engine) writeNotes() error {
	var o deployment.Operator
	if e.certs != nil {
		o.TLSCert, o.TLSKey = e.certs.OwnClient()
	}
	if e.nats.embedded != nil {
		creds, err := e.nats.embedded.Authority().EngineCreds()
		if err != nil {
			return err
		}
		o.Creds = string(creds)
	} else {
		o.URL, o.Access = e.nats.url, e.cfg.NATSAccess.Absolute()
	}
	if o.MasterKeyCommand = e.cfg.Keys.MasterKeyCommand; e.cfg.Keys.File() != "" {
		path, err := filepath.Abs(e.cfg.Keys.File())
		if err != nil {
			return err
		}
		o.MasterKey = path
	}
	if err := o.Write(e.cfg.Data); err != nil {
		return err
	}
	return e.writeNote()
}

// writeNote writes the addresses, and the certificate that clients on this machine
// find there.
func (e *Engine) writeNote() error {
	n := deployment.Note{PID: os.Getpid(), NATS: redact.URL(e.nats.url), HTTP: e.http.url(), Prefix: e.cfg.SubjectPrefix, Shared: e.nats.accounts == nil}
	if e.certs != nil && e.nats.embedded != nil {
		n.Fingerprint = e.certs.Fingerprint()
	}
	return n.Write(e.cfg.Data)
}

func (e *Engine) removeNotes(context.Context) {
	if err := deployment.RemoveNotes(e.cfg.Data); err != nil {
		e.log.Warn("cannot remove the engine's address from the data directory", "error", err)
	}
}
