package commands

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/internal/grants"
	"github.com/tidemark-engine/tidemark/internal/trace"
)

// Command is one request, read and bound to the aggregate that decides it.
type Command struct {
	CommandID string
	Aggregate string
	ID        string
	Key       string
	Name      events.AggregateName  // the aggregate: its last event is compared on append
	Losers    events.AggregateName  // holds the aggregate's losing writes; empty = there are none
	request   request               // a command id must not be used for two requests
	idTime    time.Time             // when CommandID was made, as it says; zero = it does not say
	since     time.Time             // Request.MadeAt
	actor     string                // the authenticated sender; empty = there is no identity
	trace     trace.Context         // of the request
	source    string                // an agent whose entries the command reads
	holder    string                // the agent that a task is for, or works on it, after the command; the owner of a claim
	creates   bool                  // the command makes the task, or is about a claim: only the holder after it matters
	claims    bool                  // the command claims the task, and its receipt has the task
	next      bool                  // the engine has chosen the task, for tasks.next
	sends     *sending              // a command that it makes the engine send later
	shows     *grants.Rows          // the rows that a view shows, which its definer must be allowed to read
	computes  bool                  // the command decides with the value of its entry, and its receipt has the new one
	reverts   bool                  // the command writes values of the past again
	compares  bool                  // the command decides with the value of its entry
	long      bool                  // the command is about all entries of an agent: it may outlive its caller
	taken     string                // message id under which deliveries knows it; empty = it need not
	mailbox   events.AggregateName  // where the command waits; empty = Name
	guard     func(state any) error // refuses the command in a state; nil = in none

	fold   func(ev *events.Event) (any, error)                   // the state from the last event alone
	decide func(state any, meta domain.Metadata) domain.Decision // state is nil before the first event
	effect func(rec *events.Record) (effect, error)              // what an event says about the command that caused it
	// lookup, if set, reads what decide needs of the past. It is called once, after dedup.
	lookup func(ctx context.Context, h *Handler) error
	// prepare, if set, is called once before events are appended; the command is
	// then decided again.
	prepare func(ctx context.Context, h *Handler) error
	// undo, if set, is called when the command fails after prepare has begun.
	undo     func(ctx context.Context, h *Handler)
	prepared bool // prepare has begun
	// tried are the digests of the events that this delivery of the command has appended or
	// tried to append.
	tried []string
	// run executes the command. It is (*Handler).execute unless the command reads
	// more than its own aggregate or leaves no event; decide is nil then.
	run func(h *Handler, ctx context.Context, cmd *Command, unsure bool) (Receipt, error)
}

// lookUp calls lookup once.
func (c *Command) lookUp(ctx context.Context, h *Handler) error {
	if c.lookup == nil {
		return nil
	}
	err := c.lookup(ctx, h)
	if err == nil {
		c.lookup = nil
	}
	return err
}

// queue is the mailbox where the command waits.
func (c *Command) queue() events.AggregateName {
	if c.mailbox != "" {
		return c.mailbox
	}
	return c.Name
}

// effect is what a command did when it took effect.
type effect struct {
	request  string
	outcome  domain.Outcome
	version  uint64
	revision uint64
	refusal  *domain.Error
	value    string // of the entry
	keys     *int   // number of entries that a revert of an agent changed
}

// bind binds a command to an aggregate whose events carry its state: S is the
// state, f its fold, C the domain's command.
func bind[S, C any](aggregate, id, key string, name events.AggregateName, request request, f fold[S], c C,
	decide func(S, C, domain.Metadata) domain.Decision) Command {
	return Command{
		Aggregate: aggregate, ID: id, Key: key, Name: name, request: request,
		fold: f.carried,
		decide: func(state any, meta domain.Metadata) domain.Decision {
			known, _ := state.(S) // nil before the first event: the zero state
			return decide(known, c, meta)
		},
		effect: acceptedEffect,
	}
}

// acceptedEffect is the effect of a command on an aggregate without losers.
func acceptedEffect(rec *events.Record) (effect, error) {
	var d struct {
		Request string `json:"request"`
	}
	err := json.Unmarshal(rec.Data, &d)
	return effect{request: d.Request, outcome: domain.Accepted, version: rec.Version, revision: rec.Revision}, err
}

// Bounds are the limits for a command.
type Bounds struct {
	BodyBytes  int           // largest command body; default 512 KiB
	ValueBytes int           // largest value; default 256 KiB
	ClockSkew  time.Duration // how far ahead of the engine's clock a client may be; default 5 s
	Strategies Strategies    // conflict strategy of writes that name none
	Prefix     string        // of all subjects, ending in a dot; empty = none
}

// DefaultBounds are the contract's.
func DefaultBounds() Bounds {
	return Bounds{BodyBytes: 512 << 10, ValueBytes: 256 << 10, ClockSkew: 5 * time.Second}
}

// checkSize refuses a value over the limit: 413 value.too_large.
func (b Bounds) checkSize(name string, v []byte) error {
	if err := domain.CheckSize(name, v, b.ValueBytes); err != nil {
		return err
	}
	return nil
}
