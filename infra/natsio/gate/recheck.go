package gate

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
)

// refreshTime bounds the reading of the rights of all principals.
const refreshTime = 30 * time.Second

// Unsure is implemented by an Access that may not know yet what a stream shows: a consumer
// of it is left as it is.
type Unsure interface{ Unsure(stream string) bool }

// Recheck ends, in the background, the consumers of principals that show what these may not
// read any more. It is to be called after every change of rights: a consumer is compared
// with them when it is made, and then the server delivers without the gate. Credentials that
// follow revoked ones have the same account, and would have its consumers too.
func (g *Gate) Recheck() {
	select {
	case g.recheck <- struct{}{}:
	default: // one is due
	}
}

// rechecks does what Recheck asks for until Stop.
func (g *Gate) rechecks() {
	// A consumer may have been compared before a change and made after it, at most
	// apiTimeout later; or the server did not answer.
	again := time.NewTimer(2 * apiTimeout)
	defer again.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.recheck:
			again.Reset(2 * apiTimeout)
		case <-again.C:
		}
		if err := errors.Join(g.closeShared(), g.endOutdated()); err != nil && g.ctx.Err() == nil {
			g.log.Warn("consumers of principals are not compared with their rights now; it is tried again", "error", err)
			again.Reset(2 * apiTimeout)
		}
	}
}

// endOutdated compares all consumers of principals with their rights.
func (g *Gate) endOutdated() error {
	all, err := g.clientConsumers()
	all = slices.DeleteFunc(all, g.permitted)
	if len(all) > 0 && g.cfg.Refresh != nil {
		// Another engine may have made them by rights that this one has not heard of.
		ctx, cancel := context.WithTimeout(g.ctx, refreshTime)
		defer cancel()
		if failed := g.cfg.Refresh(ctx); failed != nil {
			return errors.Join(err, failed)
		}
		all = slices.DeleteFunc(all, g.permitted)
	}
	for i := range all {
		if _, failed := g.ask("CONSUMER.DELETE."+all[i].stream+"."+all[i].config.Name, nil); failed != nil {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// permitted reports whether a consumer may go on.
func (g *Gate) permitted(c clientConsumer) bool {
	if c.account == g.cfg.Accounts.Dev() {
		return true
	}
	access := g.accessOf(g.cfg.Accounts.Caller(c.account))
	if u, ok := access.(Unsure); ok && u.Unsure(c.stream) {
		return true
	}
	return g.shows(access, c.stream, &c.config)
}

// Sharer is implemented by Accounts that can keep principals from pulling from consumers,
// named STREAM.NAME.
type Sharer interface{ Share(consumers []string) }

// closeShared keeps principals from the durable consumers that the topology of the operator
// has on streams that principals read: pulls do not pass the gate.
func (g *Gate) closeShared() error {
	accounts, ok := g.cfg.Accounts.(Sharer)
	if !ok {
		return nil
	}
	var names []string
	for _, stream := range g.cfg.Free {
		if stream == auth.TaskStream { // each principal pulls from its own one alone
			continue
		}
		all, err := g.consumersOf(stream)
		if err != nil {
			return err
		}
		for i := range all {
			if c := &all[i].config; all[i].account == "" && c.Durable != "" && c.DeliverSubject == "" {
				names = append(names, stream+"."+c.Name)
			}
		}
	}
	accounts.Share(names)
	return nil
}

// consumerCreated is the root of the advisories of new consumers.
const consumerCreated = "$JS.EVENT.ADVISORY.CONSUMER.CREATED."

// ownForm is what ownName makes, and the task consumers of principals.
var ownForm = regexp.MustCompile(`_[0-9a-f]{24}(_[0-9]+)?$|^A[A-Z2-7]{55}$`)

// created looks at the consumers again when one was made for no client.
func (g *Gate) created(m *nats.Msg) {
	stream, name, _ := strings.Cut(strings.TrimPrefix(m.Subject, consumerCreated), ".")
	if slices.Contains(g.cfg.Free, stream) && !ownForm.MatchString(name) {
		g.Recheck()
	}
}
