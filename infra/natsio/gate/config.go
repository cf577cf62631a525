package gate

import (
	"context"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/identity"
)

// Access is what a caller may read of the engine's streams.
type Access interface {
	// All reports whether the caller may read a whole stream.
	All(stream string) bool
	// Some reports whether the caller may read anything of a stream.
	Some(stream string) bool
	// Covers reports whether the caller may read everything that a subject or
	// pattern, without the subject prefix, matches in a stream.
	Covers(stream, subject string) bool
}

// Accounts says whose an account is.
type Accounts interface {
	Caller(account string) *identity.Caller // nil = it may not ask
	Root(account string) string             // of its subjects in the account of the engine
	Dev() string                            // of clients without credentials; empty = there are none
	Digest(text string) string              // a short text that no client can compute from another
}

// Config of a gate.
type Config struct {
	Engine   *nats.Conn // in the account of the engine
	Dev      *nats.Conn // with all rights in the account DEV; nil = there are no clients without credentials
	Subjects natsio.Subjects
	Accounts Accounts
	// Access is what a principal may read; nil = nothing. DEV and the operator may
	// read everything.
	Access func(*identity.Caller) Access
	// Refresh brings what Access answers up to now; nil = it always is.
	Refresh func(context.Context) error
	// Refused is called with the grant that a refused request lacks; nil = it is not counted.
	Refused func(c *identity.Caller, missing string)
	// Missing is the grant for what a subject, without the subject prefix, matches in a
	// stream; empty = there is none. nil = refusals name no grant.
	Missing func(stream, subject string) string
	// Rates are of the requests of each principal; may be nil.
	Rates *natsio.Rates
	// Disconnect closes a connection that goes on sending while its requests are refused;
	// nil = it stays.
	Disconnect func(connection uint64)
	// Free are streams on which DEV may have durable consumers and acknowledge.
	Free []string
	Log  *slog.Logger
}
