// Package identity says on whose behalf the engine works: who sent a command, a
// query or a request of the JetStream API. The caller travels in the context.
package identity

import (
	"context"
	"strings"
)

// Names of the callers that are no principals of the operator's choice.
const (
	Dev      = "dev"      // clients without credentials in development mode
	Operator = "operator" // the credentials in the engine's data directory
)

// Caller is who sent a request, as the NATS server has authenticated it.
type Caller struct {
	Principal string // the name that the operator gave
	Account   string // the account of the NATS server that the request came from
}

// Client names the caller where limits count: a principal over all its connections, and
// each connection of clients without credentials for itself.
func (c *Caller) Client(connection string) string {
	if c.Principal == Dev {
		return connection
	}
	return c.Principal
}

type key struct{}

// With returns a context that carries the caller.
func With(ctx context.Context, c *Caller) context.Context { return context.WithValue(ctx, key{}, c) }

// From returns the caller that a context carries; nil is the engine itself.
func From(ctx context.Context) *Caller {
	c, _ := ctx.Value(key{}).(*Caller)
	return c
}

// ConfigAccount is the name of a principal's account in the configuration file of an
// external server: the name in upper case, with _ for -.
func ConfigAccount(name string) string {
	return strings.ReplaceAll(strings.ToUpper(name), "-", "_")
}
