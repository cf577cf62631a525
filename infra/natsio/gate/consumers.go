package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
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
	// maxFilters bounds the filters of one consumer, and the subjects of a stream of DEV: the
	// server compares each with each other, 6,000 in 5 s, while others wait.
	maxFilters = 128
	// maxWaiting bounds the pulls that wait at one consumer.
	maxWaiting = 512

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
	chosen := name
	name = g.ownName(r, stream, chosen)
	owner, found, err := g.owner(stream, name)
	if err == nil && !found && name != chosen { // it may be another's
		name = chosen
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

// serialForm is what clients that replace their ordered consumer put at the end of its name,
// and look for there in the messages.
var serialForm = regexp.MustCompile(`_[0-9]+$`)

// ownName makes the name of a principal's consumer, which it learns from the answer, one
// that no other principal can guess or have: pulls do not pass the gate, and who has a name
// first would keep it from others. A name that the principal has learned stays.
func (g *Gate) ownName(r *request, stream, name string) string {
	if r.dev || name == "" || stream == auth.TaskStream && name == auth.TaskConsumer {
		return name
	}
	own := func(chosen, serial string) string {
		return chosen + "_" + g.cfg.Accounts.Digest(r.caller.Account+" "+stream+" "+chosen+serial) + serial
	}
	chosen, serial := name, serialForm.FindString(name)
	chosen = strings.TrimSuffix(chosen, serial)
	if i := strings.LastIndexByte(chosen, '_'); i > 0 && own(chosen[:i], serial) == name {
		return name
	}
	return own(chosen, serial)
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
	all, err := g.clientConsumersOf(stream)
	if err != nil {
		r.unavailable(err)
		return
	}
	for i := range all {
		name := all[i].config.Name
		if all[i].account != r.caller.Account {
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

// clientConsumer is a consumer that the gate has made for an account.
type clientConsumer struct {
	stream, account string
	config          consumerConfig // with the consumer's name
}

// clientConsumers lists the consumers of all streams that were made for accounts and are
// left; those that it has read if it fails.
func (g *Gate) clientConsumers() (all []clientConsumer, err error) {
	answer, err := g.ask("STREAM.NAMES", nil)
	if err != nil {
		return nil, err
	}
	var streams struct {
		Streams []string `json:"streams"`
	}
	if err := json.Unmarshal(answer.Data, &streams); err != nil {
		return nil, err
	}
	for _, stream := range streams.Streams {
		some, failed := g.clientConsumersOf(stream)
		all, err = append(all, some...), errors.Join(err, failed)
	}
	return all, err
}

func (g *Gate) clientConsumersOf(stream string) ([]clientConsumer, error) {
	all, err := g.consumersOf(stream)
	return slices.DeleteFunc(all, func(c clientConsumer) bool { return c.account == "" }), err
}

// consumersOf lists all consumers of a stream. The account of those that were made for none
// is empty.
func (g *Gate) consumersOf(stream string) (all []clientConsumer, err error) {
	for offset := 0; ; {
		answer, err := g.ask("CONSUMER.LIST."+stream, fmt.Appendf(nil, `{"offset":%d}`, offset))
		if err != nil {
			return all, err
		}
		var page struct {
			Total     int `json:"total"`
			Consumers []struct {
				Name   string         `json:"name"`
				Config consumerConfig `json:"config"`
			} `json:"consumers"`
		}
		if err := json.Unmarshal(answer.Data, &page); err != nil {
			return all, err
		}
		for i := range page.Consumers {
			c := &page.Consumers[i]
			c.Config.Name = c.Name
			all = append(all, clientConsumer{stream, c.Config.Metadata[ownerMeta], c.Config})
		}
		if offset += len(page.Consumers); len(page.Consumers) == 0 || offset >= page.Total {
			return all, nil
		}
	}
}

// owned are the consumers of one account as "STREAM NAME".
func (g *Gate) owned(account string) map[string]bool {
	left := map[string]bool{}
	all, _ := g.clientConsumers() // what it has read
	for i := range all {
		if c := &all[i]; c.account == account {
			left[c.stream+" "+c.config.Name] = true
		}
	}
	return left
}
