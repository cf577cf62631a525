package identity

import "context"

// Actor is the name of the caller for the events that it causes; empty for the engine
// itself and for clients without credentials.
func Actor(ctx context.Context) string {
	if c := From(ctx); c != nil && c.Principal != Dev {
		return c.Principal
	}
	return ""
}
