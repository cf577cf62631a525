package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// facts are what a plan knows about the server.
type facts struct {
	cluster    string // "" = one server without a cluster
	maxPayload int64
	limits     jetstream.AccountInfo
	streams    map[string]*jetstream.StreamInfo
	consumers  map[string]*jetstream.ConsumerInfo // by "stream consumer"
}

func (p *Planner) survey(a *asking) (f facts, err error) {
	f = facts{
		cluster: p.nc.ConnectedClusterName(), maxPayload: p.nc.MaxPayload(),
		streams: map[string]*jetstream.StreamInfo{}, consumers: map[string]*jetstream.ConsumerInfo{},
	}
	if err = a.do(func(ctx context.Context) error {
		info, err := p.js.AccountInfo(ctx)
		if err == nil {
			f.limits = *info
		}
		return err
	}); err != nil {
		return f, fmt.Errorf("ask JetStream about the account: %w", err)
	}
	for _, name := range p.streamNames() {
		if err := f.addStream(a, name); err != nil {
			return f, fmt.Errorf("look at stream %s: %w", name, err)
		}
	}
	for i := range p.want.Consumers {
		c := &p.want.Consumers[i]
		if c.Name == "" || f.streams[c.Stream] == nil {
			continue
		}
		if err := f.addConsumer(a, c.Stream, c.Name); err != nil {
			return f, fmt.Errorf("look at consumer %s of %s: %w", c.Name, c.Stream, err)
		}
	}
	return f, nil
}

// streamNames are the streams of the topology, buckets' and consumers' too.
func (p *Planner) streamNames() []string {
	var names []string
	for i := range p.want.Streams {
		names = append(names, p.want.Streams[i].Name)
	}
	for i := range p.want.Buckets {
		names = append(names, "KV_"+p.want.Buckets[i].Bucket)
	}
	for i := range p.want.Consumers {
		names = append(names, p.want.Consumers[i].Stream)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (f *facts) addStream(a *asking, name string) error {
	return a.do(func(ctx context.Context) error {
		s, err := a.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		if err == nil {
			f.streams[name] = s.CachedInfo()
		}
		return err
	})
}

func (f *facts) addConsumer(a *asking, stream, name string) error {
	return a.do(func(ctx context.Context) error {
		c, err := a.js.Consumer(ctx, stream, name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil
		}
		if err == nil {
			f.consumers[stream+" "+name] = c.CachedInfo()
		}
		return err
	})
}

// owner is another stream that takes a subject already; "" = none.
func (a *asking) owner(subject string) (name string, err error) {
	err = a.do(func(ctx context.Context) error {
		var err error
		name, err = a.js.StreamNameBySubject(ctx, subject)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		return err
	})
	return name, err
}
