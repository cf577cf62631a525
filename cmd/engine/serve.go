package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Run serves until ctx ends, then stops cleanly.
func (c *serveCmd) Run(ctx context.Context, out *output) error {
	log := newLog(os.Stderr, c.Log, c.LogStyle)
	defer runtime.KeepAlive(heapFloor)
	e, err := startEngine(ctx, c, log)
	if err != nil {
		return err
	}
	go giveBack(ctx)
	fmt.Fprint(out, e.banner())
	<-ctx.Done()
	fmt.Fprintln(out, "stopping: answering what was taken, flushing the views …")
	e.close()
	fmt.Fprintln(out, "stopped.")
	return nil
}

// banner says what runs where, what an acknowledgement means, and what to try.
func (e *engine) banner() string {
	var b strings.Builder
	mode, detail := e.durability()
	natsMode, pgLine := "embedded", "off: no SQL; lists need it, commands and reads do not"
	if e.nats == nil {
		natsMode = "external"
	}
	switch {
	case e.pgLocal != nil:
		pgLine = e.pgLocal.URL() + "  (managed, " + e.pgLocal.Version() + ")"
	case e.db != nil:
		pgLine = e.pgURL + "  (external)"
	}
	fmt.Fprintf(&b, "Tidemark %s serves.\n", version)
	fmt.Fprintf(&b, "  NATS        %s  (%s)\n", redacted(e.natsURL), natsMode)
	fmt.Fprintf(&b, "  Postgres    %s\n", pgLine)
	fmt.Fprintf(&b, "  HTTP        %s/readyz  /healthz  /metrics\n", e.http.url())
	fmt.Fprintf(&b, "  journal     %d partition(s), %d replica(s), data in %s\n", e.journal.Partitions(), e.journal.Replicas(), e.cfg.Data)
	fmt.Fprintf(&b, "  durability  %s: %s\n", mode, detail)
	fmt.Fprintf(&b, "Try, in another terminal:\n")
	at := ""
	if e.cfg.Data != "./data" {
		at = " --data " + e.cfg.Data
	}
	prefix := e.cfg.SubjectPrefix
	if prefix != "" {
		prefix = strings.TrimSuffix(prefix, ".") + "."
	}
	fmt.Fprintf(&b, "  bin/engine send%s %scommands.agent.a1.set '{\"key\":\"mood\",\"value\":\"curious\"}'\n", at, prefix)
	fmt.Fprintf(&b, "  bin/engine query%s %squeries.agent.a1.get '{\"key\":\"mood\"}'\n", at, prefix)
	fmt.Fprintf(&b, "  bin/engine demo%s\n", at)
	return b.String()
}
