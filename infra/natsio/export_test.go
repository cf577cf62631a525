package natsio

import (
	"context"

	"github.com/nats-io/nats.go"
)

// MultiLastSubjects is how many subjects one request takes.
const MultiLastSubjects = multiLastSubjects

// Fetch is one request.
func (q LastQuery) Fetch(ctx context.Context, nc *nats.Conn, stream string) (any, error) {
	return directGet(ctx, nc, stream, q)
}
