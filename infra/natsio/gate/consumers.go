package gate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
)

const (
	// ownerMeta is the account that a consumer was made for.
	ownerMeta = "tidemark.owner"
	// maxThreshold is how long a consumer of a client lives without it.
	maxThreshold = 5 * time.Minute
	// maxConsumers bounds the consumers of one account; a stream has at most 1,000.
	maxConsumers = 100
	// randomName is the length of a name that clients choose at random.
	randomName = 22

	inboxRoot = "_INBOX."
)

// owner returns the account that a consumer was made for.
func (g *Gate) owner(stream, name string) (owner string, found bool, err error) {
	answer, err := g.ask("CONSUMER.INFO."+stream+"."+name, nil)
	if err != nil {
		return "", false, err
	}
	var info struct {
		Error  *errorBody     `json:"error"`
		Config consumerConfig `json:"config"`
	}
	if err := json.Unmarshal(answer.Data, &info); err != nil {
		return "", false, err
	}
	return info.Config.Metadata[ownerMeta], info.Error == nil, nil
}

// consumer answers CONSUMER.INFO and CONSUMER.DELETE.
func (g *Gate) consumer(r *request, stream, name string) {
	tasks := stream == auth.TaskStream && name == auth.TaskConsumer
	if tasks && r.tokens[1] == "INFO" {
		g.taskConsumer(r)
		return
	}
	owner, found, err := g.owner(stream, name)
	if secret := g.unguessable(r, stream, name); err == nil && secret != name && (!found || owner != r.caller.Account) {
		name = secret
		owner, found, err = g.owner(stream, name)
	}
	info := r.tokens[1] == "INFO"
	switch {
	case err != nil:
		r.unavailable(err)
		return
	case found && owner != r.caller.Account && (!info || !r.dev), !found && !r.dev && !r.access.All(stream):
		r.forbidden("the consumer")
		return
	}
	if !info {
		g.quota.remove(r.caller.Account, stream+" "+name)
	}
	answer, err := g.ask("CONSUMER."+r.tokens[1]+"."+stream+"."+name, nil)
	if err != nil {
		r.unavailable(err)
		return
	}
	r.respond(&nats.Msg{Data: g.foreign(r, answer.Data)})
}

// unguessable makes the name of a consumer that a principal pulls from, which it
// learns from the answer, one that others cannot guess: pulls do not pass the gate.
func (g *Gate) unguessable(r *request, stream, name string) string {
	if r.dev || name == "" || len(name) >= randomName || stream == auth.TaskStream && name == auth.TaskConsumer {
		return name
	}
	return name + "_" + g.cfg.Accounts.Digest(r.caller.Account+" "+stream+" "+name)
}

// consumers answers CONSUMER.NAMES and CONSUMER.LIST with the caller's own ones;
// DEV sees all.
func (g *Gate) consumers(r *request, stream string) {
	if r.dev {
		g.relay(r, r.tokens[0]+"."+r.tokens[1]+"."+stream, r.msg.Data)
		return
	}
	names := r.tokens[1] == "NAMES"
	found := []json.RawMessage{}
	for name := range g.owned(r.caller.Account) {
		s, name, _ := strings.Cut(name, " ")
		if s != stream {
			continue
		}
		if names {
			text, _ := json.Marshal(name) // a string
			found = append(found, text)
		} else if answer, err := g.ask("CONSUMER.INFO."+stream+"."+name, nil); err == nil {
			found = append(found, g.foreign(r, answer.Data))
		}
	}
	body, err := json.Marshal(map[string]any{
		"type": "io.nats.jetstream.api.v1." + r.responseType(), "total": len(found), "offset": 0, "limit": pageSize, "consumers": found,
	})
	if err != nil {
		r.unavailable(err)
		return
	}
	r.respond(&nats.Msg{Data: g.foreign(r, body)})
}

// next pulls messages from a consumer of DEV on a stream that it does not import.
func (g *Gate) next(r *request, stream, name string) {
	if r.dev && slices.Contains(g.cfg.Free, stream) && (stream != auth.TaskStream || name == auth.TaskConsumer) {
		return // the account imports it
	}
	owner, found, err := g.owner(stream, name)
	if err != nil || !found || owner != r.caller.Account {
		r.refuse(409, "Consumer Deleted")
		return
	}
	g.forward(r)
}

// forward asks JetStream to answer a client of DEV itself: the account imports
// where the answer goes as the client's inbox, and it stays as the server made
// it.
func (g *Gate) forward(r *request) {
	inbox, ok := strings.CutPrefix(r.msg.Reply, inboxRoot)
	if !r.dev || !ok {
		r.refuse(409, "the reply subject must begin with "+inboxRoot)
		return
	}
	err := g.cfg.Engine.PublishMsg(&nats.Msg{
		Subject: "$JS.API." + r.api, Reply: g.cfg.Accounts.Root(r.caller.Account) + "inbox." + inbox, Data: r.msg.Data,
	})
	if err != nil {
		r.unavailable(err)
	}
}

// owned lists the consumers that were made for an account and are left.
func (g *Gate) owned(account string) map[string]bool {
	left := map[string]bool{}
	answer, err := g.ask("STREAM.NAMES", nil)
	if err != nil {
		return left
	}
	var streams struct {
		Streams []string `json:"streams"`
	}
	_ = json.Unmarshal(answer.Data, &streams) // none
	for _, stream := range streams.Streams {
		for offset := 0; ; {
			answer, err := g.ask("CONSUMER.LIST."+stream, fmt.Appendf(nil, `{"offset":%d}`, offset))
			if err != nil {
				break
			}
			var page struct {
				Total     int `json:"total"`
				Consumers []struct {
					Name   string         `json:"name"`
					Config consumerConfig `json:"config"`
				} `json:"consumers"`
			}
			if json.Unmarshal(answer.Data, &page) != nil {
				break
			}
			for i := range page.Consumers {
				if c := &page.Consumers[i]; c.Config.Metadata[ownerMeta] == account {
					left[stream+" "+c.Name] = true
				}
			}
			if offset += len(page.Consumers); len(page.Consumers) == 0 || offset >= page.Total {
				break
			}
		}
	}
	return left
}
