package topology

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// placed finds where streams may live and with how many replicas.
func (p *Planner) placed(a *asking, f *facts, all []*wanted, ask bool) ([]Check, error) {
	if f.cluster == "" {
		for _, w := range all {
			p.single(f, w)
		}
		return []Check{{"cluster", OK, "one server without a cluster: one replica of each, placement is left out"}}, nil
	}
	checks := []Check{f.clusterName(all)}
	var text []string
	level := OK
	for _, w := range all {
		live := f.streams[w.cfg.Name]
		if live != nil && live.Config.Replicas == w.replicas && placementText(live.Config.Placement) == placementText(w.cfg.Placement) {
			continue
		}
		maxBytes := w.cfg.MaxBytes
		if live != nil {
			maxBytes = 1 // it has reserved its own
		}
		say, err := p.clustered(a, w, maxBytes, ask)
		if err != nil {
			return nil, err
		}
		if say != "" && !slices.Contains(text, say) {
			text = append(text, say)
		}
		switch {
		case w.refused != "":
			level = Refused
		case say != "" && level == OK:
			level = Warn
		}
	}
	if len(text) == 0 {
		text = []string{"there are servers with the tags for every replica"}
	}
	return append(checks, Check{"peers and tags", level, strings.Join(text, "; ")}), nil
}

// clusterName compares names only; whether a name will do, the servers say.
func (f *facts) clusterName(all []*wanted) Check {
	for _, w := range all {
		if w.cfg.Placement != nil && w.cfg.Placement.Cluster != "" && w.cfg.Placement.Cluster != f.cluster {
			return Check{"cluster", Warn, fmt.Sprintf("placement names cluster %q, this server is in %q", w.cfg.Placement.Cluster, f.cluster)}
		}
	}
	return Check{"cluster", OK, fmt.Sprintf("this server is in %q", f.cluster)}
}

// single is how one server without a cluster takes a stream.
func (p *Planner) single(f *facts, w *wanted) {
	if w.replicas > 1 {
		w.mapped("replicas", strconv.Itoa(w.replicas), "1", "min("+strconv.Itoa(w.replicas)+", peers): one server without a cluster")
		w.cfg.Replicas = 1
	}
	if w.cfg.Placement != nil {
		w.mapped("placement", placementText(w.cfg.Placement), "left out", "one server without a cluster has nothing to choose from")
		w.cfg.Placement = nil
	}
	live := f.streams[w.cfg.Name]
	if live == nil && p.async(w) {
		w.cfg.PersistMode = jetstream.AsyncPersistMode
	}
	switch {
	case w.cfg.PersistMode == jetstream.AsyncPersistMode, live != nil && live.Config.PersistMode == jetstream.AsyncPersistMode:
		w.mapped("persist_mode", "", "async", "writes do not wait for the disk as the journal's do: what a power cut takes is folded from the journal again")
	case live != nil && p.async(w):
		w.mapped("persist_mode", "", "default", "writes wait for the disk; the server fixes this when a stream is made")
	}
}

// async tells whether a stream's writes need not wait for the disk. Where a
// durable consumer acks they do: it would remember sequences that a power cut
// has taken, and pass over what gets them next.
func (p *Planner) async(w *wanted) bool {
	return p.opts.Async && w.cfg.Storage == jetstream.FileStorage &&
		!slices.ContainsFunc(p.want.Consumers, func(c Consumer) bool { return c.Name != "" && c.Stream == w.cfg.Name })
}

// clustered is how a cluster takes a stream; say tells what is not as written.
func (p *Planner) clustered(a *asking, w *wanted, maxBytes int64, ask bool) (say string, err error) {
	written := placementText(w.cfg.Placement)
	got, err := p.place(a, w, maxBytes, ask)
	if err != nil {
		return "", err
	}
	if got.replicas == 0 && p.opts.Lenient && w.cfg.Placement != nil {
		say = fmt.Sprintf("placement %s is left out: %s", written, got.why)
		w.mapped("placement", written, "left out", "the default topology does not know this cluster: "+got.why)
		w.cfg.Placement = nil
		if got, err = p.place(a, w, maxBytes, ask); err != nil {
			return "", err
		}
	}
	switch {
	case got.replicas == 0:
		w.refused = fmt.Sprintf("placement %s: %s", written, got.why)
		return w.refused, nil
	case got.replicas < w.replicas:
		reason := fmt.Sprintf("min(%d, peers): %s", w.replicas, got.why)
		w.mapped("replicas", strconv.Itoa(w.replicas), strconv.Itoa(got.replicas), reason)
		w.cfg.Replicas = got.replicas
		if say == "" {
			say = fmt.Sprintf("%d of %d replicas under placement %s: %s", got.replicas, w.replicas, written, got.why)
		}
	}
	return say, nil
}

// payload warns of messages that the server would not let through.
func payload(_ *asking, f *facts, all []*wanted, _ bool) ([]Check, error) {
	var over []string
	most := int64(0)
	for _, w := range all {
		wants := int64(w.cfg.MaxMsgSize)
		most = max(most, wants)
		if wants <= f.maxPayload {
			continue
		}
		name := "max_msg_size"
		if w.kind == KindBucket {
			name = "max_value_size"
		}
		over = append(over, string(w.kind)+" "+w.name)
		w.mapped(name, size(wants), size(f.maxPayload), "the server's max_payload lets nothing larger through")
	}
	if len(over) > 0 {
		return []Check{{"max_payload", Warn, fmt.Sprintf("%s is less than %s may hold (max_payload: 8MB in the server's configuration takes all)",
			size(f.maxPayload), strings.Join(over, ", "))}}, nil
	}
	return []Check{{"max_payload", OK, fmt.Sprintf("%s, the largest message of the topology is %s", size(f.maxPayload), size(most))}}, nil
}
