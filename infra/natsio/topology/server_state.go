package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// serverState is what a plan reads from the server.
type serverState struct {
	cluster    string // "" = one server without a cluster
	maxPayload int64
	account    jetstream.AccountInfo
	streams    map[string]*jetstream.StreamInfo
	offline    map[string]bool                    // streams whose servers are all down
	consumers  map[string]*jetstream.ConsumerInfo // by "stream consumer"
}

func (p *Planner) readServer(a *api) (s serverState, err error) {
	s = serverState{
		cluster: p.nc.ConnectedClusterName(), maxPayload: p.nc.MaxPayload(),
		streams: map[string]*jetstream.StreamInfo{}, offline: map[string]bool{}, consumers: map[string]*jetstream.ConsumerInfo{},
	}
	if err = a.do(func(ctx context.Context) error {
		info, err := p.js.AccountInfo(ctx)
		if err == nil {
			s.account = *info
		}
		return err
	}); err != nil {
		return s, fmt.Errorf("read the JetStream account: %w", err)
	}
	for _, name := range p.streamNames() {
		if err := s.addStream(a, name); err != nil {
			return s, fmt.Errorf("read stream %s: %w", name, err)
		}
	}
	for i := range p.topology.Consumers {
		c := &p.topology.Consumers[i]
		if c.Name == "" || s.streams[c.Stream] == nil {
			continue
		}
		if err := s.addConsumer(a, c.Stream, c.Name); err != nil {
			return s, fmt.Errorf("read consumer %s of stream %s: %w", c.Name, c.Stream, err)
		}
	}
	return s, nil
}

// streamNames include the streams of buckets and consumers.
func (p *Planner) streamNames() []string {
	var names []string
	for i := range p.topology.Streams {
		names = append(names, p.topology.Streams[i].Name)
	}
	for i := range p.topology.Buckets {
		names = append(names, "KV_"+p.topology.Buckets[i].Bucket)
	}
	for i := range p.topology.Consumers {
		names = append(names, p.topology.Consumers[i].Stream)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *serverState) addStream(a *api, name string) error {
	return a.do(func(ctx context.Context) error {
		stream, err := a.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		if hasCode(err, server.JSStreamOfflineErr) {
			s.offline[name] = true
			return nil
		}
		if err == nil {
			s.streams[name] = stream.CachedInfo()
		}
		return err
	})
}

func (s *serverState) addConsumer(a *api, stream, name string) error {
	return a.do(func(ctx context.Context) error {
		c, err := a.js.Consumer(ctx, stream, name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil
		}
		if err == nil {
			s.consumers[stream+" "+name] = c.CachedInfo()
		}
		return err
	})
}

// checkPayload warns of message sizes above the server's max_payload.
func (s *serverState) checkPayload(all []*desired) Check {
	var over []string
	largest := int64(0)
	for _, d := range all {
		want := int64(d.cfg.MaxMsgSize)
		largest = max(largest, want)
		if want <= s.maxPayload {
			continue
		}
		name := "max_msg_size"
		if d.kind == KindBucket {
			name = "max_value_size"
		}
		over = append(over, string(d.kind)+" "+d.name)
		d.mapped(name, size(want), size(s.maxPayload), "the server's max_payload is smaller")
	}
	if len(over) > 0 {
		return Check{"max_payload", Warn, fmt.Sprintf("%s is less than %s may hold; set max_payload: 8MB in the server's configuration",
			size(s.maxPayload), strings.Join(over, ", "))}
	}
	return Check{"max_payload", OK, fmt.Sprintf("%s, the largest message of the topology is %s", size(s.maxPayload), size(largest))}
}
