package service

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nuid"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// discovery answers $SRV.PING, INFO and STATS as a micro service does (ADR-32). The
// library's own service counts the time of its handlers and the errors they return; here
// a request is answered long after its handler has returned.
type discovery struct {
	info    micro.Info
	started time.Time
	subs    []*nats.Subscription

	mu    sync.Mutex
	stats map[string]*micro.EndpointStats
}

const (
	serviceName, queueGroup           = "tidemark", "q"
	commandsEndpoint, queriesEndpoint = "commands", "queries"
)

// newDiscovery lists the endpoints, each with its schemas; none is added later, because requests
// are counted as soon as one is subscribed.
func newDiscovery(version string, subjects natsio.Subjects) *discovery {
	id := micro.ServiceIdentity{Name: serviceName, ID: nuid.Next(), Version: version, Metadata: map[string]string{}}
	d := &discovery{
		started: time.Now().UTC(), stats: map[string]*micro.EndpointStats{},
		info: micro.Info{ServiceIdentity: id, Type: micro.InfoResponseType,
			Description: "event-sourced state for agents: commands in, receipts and read models out"},
	}
	for _, name := range []string{commandsEndpoint, queriesEndpoint} {
		subject := subjects.Root(name+".") + ">"
		d.info.Endpoints = append(d.info.Endpoints, micro.EndpointInfo{Name: name, Subject: subject, QueueGroup: queueGroup, Metadata: schemaOf(name)})
		d.stats[name] = &micro.EndpointStats{Name: name, Subject: subject, QueueGroup: queueGroup}
	}
	return d
}

// answered counts a request; failed is the text of its error, empty for none.
func (d *discovery) answered(endpoint, failed string, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats[endpoint]
	s.NumRequests++
	s.ProcessingTime += took
	s.AverageProcessingTime = s.ProcessingTime / time.Duration(s.NumRequests)
	if failed != "" {
		s.NumErrors++
		s.LastError = failed
	}
}

// serve subscribes on nc.
func (d *discovery) serve(nc *nats.Conn, replyAllowed func(subject, reply string) bool) error {
	for verb, answer := range map[micro.Verb]func() any{
		micro.PingVerb:  func() any { return micro.Ping{ServiceIdentity: d.info.ServiceIdentity, Type: micro.PingResponseType} },
		micro.InfoVerb:  func() any { return d.info },
		micro.StatsVerb: func() any { return d.statistics() },
	} {
		for _, name := range [][2]string{{}, {serviceName}, {serviceName, d.info.ID}} {
			subject, err := micro.ControlSubject(verb, name[0], name[1])
			if err != nil {
				return fmt.Errorf("the subject of %s: %w", verb, err)
			}
			sub, err := nc.Subscribe(subject, func(m *nats.Msg) {
				if !replyAllowed(m.Subject, m.Reply) {
					return
				}
				if body, err := json.Marshal(answer()); err == nil {
					_ = m.Respond(body) // the client asks again
				}
			})
			if err != nil {
				return fmt.Errorf("subscribe to %s: %w", subject, err)
			}
			d.subs = append(d.subs, sub)
		}
	}
	return nil
}

func (d *discovery) statistics() micro.Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := micro.Stats{ServiceIdentity: d.info.ServiceIdentity, Type: micro.StatsResponseType, Started: d.started}
	for _, name := range slices.Sorted(maps.Keys(d.stats)) {
		endpoint := *d.stats[name]
		s.Endpoints = append(s.Endpoints, &endpoint)
	}
	return s
}

func (d *discovery) stop() {
	for _, sub := range d.subs {
		_ = sub.Unsubscribe() // it fails on a closed connection only
	}
}
