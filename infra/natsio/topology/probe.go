package topology

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// A server has no dry run: a probe is an empty stream that is made and removed
// at once. Each has a name of its own, for a store that has just been removed
// may be in the way of one of the same name (seen on 2.15).
const (
	probeName    = "TIDEMARK_PREFLIGHT_"
	probeSubject = "TIDEMARK_PREFLIGHT."
)

// Codes by which a server says that it has not what a stream asks for. Any other
// refusal is an error.
const (
	codeNoPeers          = 10005 // no server is as the placement says, or too few
	codeNoResources      = 10023
	codeMemoryExceeded   = 10028
	codeStorageExceeded  = 10047
	codeReplicasOneAlone = 10074
)

// probe asks whether the server would take such a stream; no is its refusal.
func (a *asking) probe(storage jetstream.StorageType, maxBytes int64, replicas int, place *jetstream.Placement) (no *jetstream.APIError, err error) {
	if err := a.sweep(); err != nil {
		return nil, fmt.Errorf("ask what the server takes: %w", err)
	}
	id := ulid.Make().String()
	err = a.create(jetstream.StreamConfig{
		Name: probeName + id, Description: "asks whether a topology fits; removed at once", Subjects: []string{probeSubject + id},
		Storage: storage, MaxBytes: maxBytes, Replicas: replicas, Placement: place,
	})
	if hasCode(err, codeNoPeers, codeNoResources, codeMemoryExceeded, codeStorageExceeded, codeReplicasOneAlone) {
		errors.As(err, &no)
		return no, nil
	}
	if rerr := a.remove(probeName + id); err == nil {
		err = rerr
	}
	if err != nil {
		return nil, fmt.Errorf("ask what the server takes: %w", err)
	}
	return nil, nil
}

// remove takes a probe away, also when the plan is being given up.
func (a *asking) remove(name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), 2*tryTime)
	defer cancel()
	b := &asking{ctx: ctx, js: a.js}
	err := b.do(func(ctx context.Context) error { return b.js.DeleteStream(ctx, name) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return err
}

// probeAge is how old a probe is that a killed plan left behind.
const probeAge = time.Minute

// sweep removes, once in a plan, what killed ones left behind.
func (a *asking) sweep() error {
	if a.swept {
		return nil
	}
	var old []string
	err := a.do(func(ctx context.Context) error {
		old = nil
		all := a.js.ListStreams(ctx, jetstream.WithStreamListSubject(probeSubject+">"))
		for info := range all.Info() {
			if strings.HasPrefix(info.Config.Name, probeName) && info.TimeStamp.Sub(info.Created) > probeAge {
				old = append(old, info.Config.Name)
			}
		}
		return all.Err()
	})
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := a.remove(name); err != nil {
			return err
		}
	}
	a.swept = true
	return nil
}

// fit is how a placement can be met: with how many replicas, or why not.
type fit struct {
	replicas int // 0 = not at all
	why      string
}

// place finds how many of a stream's replicas the cluster's servers can take
// under its placement. Fewer than wanted means fewer peers; none, even for one
// replica, that no server is as the placement says, or has the room. Without
// asking it is what was found out last.
func (p *Planner) place(a *asking, w *wanted, maxBytes int64, ask bool) (fit, error) {
	key := w.cfg.Name + " " + placementText(w.cfg.Placement)
	if !ask {
		if got, ok := p.fits[key]; ok {
			return got, nil
		}
		return fit{replicas: w.replicas}, nil
	}
	got := fit{}
	for n := w.replicas; n > 0; n-- {
		no, err := a.probe(w.cfg.Storage, maxBytes, n, w.cfg.Placement)
		if err != nil {
			return got, err
		}
		if no == nil {
			got.replicas = n
			break
		}
		if got.why == "" {
			got.why = no.Description
		}
	}
	p.fits[key] = got
	return got, nil
}

func placementText(p *jetstream.Placement) string {
	if p == nil {
		return "none"
	}
	text := p.Cluster
	if text == "" {
		text = "any cluster"
	}
	if len(p.Tags) > 0 {
		text += " [" + strings.Join(p.Tags, ", ") + "]"
	}
	return text
}
