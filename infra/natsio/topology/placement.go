package topology

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// checkPlacement sets the replicas and placement of each stream, as far as the
// servers can meet them.
func (p *Planner) checkPlacement(a *api, server *serverState, all []*desired, probe bool) ([]Check, error) {
	if server.cluster == "" {
		for _, d := range all {
			p.placeSingle(server, d)
		}
		return []Check{{"cluster", OK, "single server: one replica each, placement is ignored"}}, nil
	}
	checks := []Check{server.checkClusterName(all)}
	var text []string
	level := OK
	for _, d := range all {
		live := server.streams[d.cfg.Name]
		if server.offline[d.cfg.Name] {
			continue
		}
		if live != nil && live.Config.Replicas == d.replicas && placementText(live.Config.Placement) == placementText(d.cfg.Placement) {
			continue
		}
		maxBytes := d.cfg.MaxBytes
		if live != nil {
			maxBytes = 1 // its bytes are reserved already
		}
		problem, err := p.placeClustered(a, d, maxBytes, probe)
		if err != nil {
			return nil, err
		}
		if problem != "" && !slices.Contains(text, problem) {
			text = append(text, problem)
		}
		switch {
		case d.refused != "":
			level = Refused
		case problem != "" && level == OK:
			level = Warn
		}
	}
	if len(text) == 0 {
		text = []string{"every replica has a server with its tags"}
	}
	return append(checks, Check{"peers and tags", level, strings.Join(text, "; ")}), nil
}

// checkClusterName compares names only; probes test the placement itself.
func (s *serverState) checkClusterName(all []*desired) Check {
	for _, d := range all {
		if d.cfg.Placement != nil && d.cfg.Placement.Cluster != "" && d.cfg.Placement.Cluster != s.cluster {
			return Check{"cluster", Warn, fmt.Sprintf("placement names the cluster %q, this server is in %q", d.cfg.Placement.Cluster, s.cluster)}
		}
	}
	return Check{"cluster", OK, fmt.Sprintf("this server is in %q", s.cluster)}
}

// placeSingle adapts a stream to a single server.
func (p *Planner) placeSingle(server *serverState, d *desired) {
	if d.replicas > 1 {
		d.mapped("replicas", strconv.Itoa(d.replicas), "1", "min("+strconv.Itoa(d.replicas)+", peers): single server")
		d.cfg.Replicas = 1
	}
	if d.cfg.Placement != nil {
		d.mapped("placement", placementText(d.cfg.Placement), "ignored", "a single server has no choice")
		d.cfg.Placement = nil
	}
	live := server.streams[d.cfg.Name]
	if live == nil && p.async(d) {
		d.cfg.PersistMode = jetstream.AsyncPersistMode
	}
	switch {
	case d.cfg.PersistMode == jetstream.AsyncPersistMode, live != nil && live.Config.PersistMode == jetstream.AsyncPersistMode:
		d.mapped("persist_mode", "", "async", "the server acknowledges writes before they are on disk; what a power failure loses is rebuilt from the journal")
	case live != nil && p.async(d):
		d.mapped("persist_mode", "", "default", "the server acknowledges writes when they are on disk; it fixes this mode when a stream is created")
	}
}

// async reports whether a stream may acknowledge writes before they are on
// disk. Not with a durable consumer: after a power failure it would remember
// sequences that are lost, and skip the messages that get them next.
func (p *Planner) async(d *desired) bool {
	return p.opts.Async && d.cfg.Storage == jetstream.FileStorage &&
		!slices.ContainsFunc(p.topology.Consumers, func(c Consumer) bool { return c.Name != "" && c.Stream == d.cfg.Name })
}

// placeClustered adapts a stream to a cluster; problem is what differs from the
// document.
func (p *Planner) placeClustered(a *api, d *desired, maxBytes int64, probe bool) (problem string, err error) {
	written := placementText(d.cfg.Placement)
	got, err := p.fit(a, d, maxBytes, probe)
	if err != nil {
		return "", err
	}
	if got.replicas == 0 && p.opts.Lenient && d.cfg.Placement != nil {
		problem = fmt.Sprintf("placement %s is ignored: %s", written, got.reason)
		d.mapped("placement", written, "ignored", "the default topology is not written for this cluster: "+got.reason)
		d.cfg.Placement = nil
		if got, err = p.fit(a, d, maxBytes, probe); err != nil {
			return "", err
		}
	}
	switch {
	case got.replicas == 0:
		d.refused = fmt.Sprintf("placement %s: %s", written, got.reason)
		return d.refused, nil
	case got.replicas < d.replicas:
		reason := fmt.Sprintf("min(%d, peers): %s", d.replicas, got.reason)
		d.mapped("replicas", strconv.Itoa(d.replicas), strconv.Itoa(got.replicas), reason)
		d.cfg.Replicas = got.replicas
		if problem == "" {
			problem = fmt.Sprintf("%d of %d replicas under placement %s: %s", got.replicas, d.replicas, written, got.reason)
		}
	}
	return problem, nil
}

// fit is how far a cluster meets a placement.
type fit struct {
	replicas int    // 0 = no server matches the placement or has the space
	reason   string // why it is fewer than desired
}

// fit finds the number of replicas that the cluster accepts under a stream's
// placement. Without probing it is the last result.
func (p *Planner) fit(a *api, d *desired, maxBytes int64, probe bool) (fit, error) {
	key := d.cfg.Name + " " + placementText(d.cfg.Placement)
	if !probe {
		if got, ok := p.fits[key]; ok {
			return got, nil
		}
		return fit{replicas: d.replicas}, nil
	}
	got := fit{}
	for n := d.replicas; n > 0; n-- {
		refusal, err := a.probe(d.cfg.Storage, maxBytes, n, d.cfg.Placement)
		if err != nil {
			return got, err
		}
		if refusal == nil {
			got.replicas = n
			break
		}
		if got.reason == "" {
			got.reason = refusal.Description
		}
	}
	p.fits[key] = got
	return got, nil
}
