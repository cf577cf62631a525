package console

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// Engine is what the console needs of the engine beside the wire contract.
type Engine interface {
	// Connect opens a connection as a client has it: with the text of a credentials file, or
	// without any where the engine admits such clients. While the engine starts it fails
	// with [ErrStarting].
	Connect(credentials string) (*nats.Conn, error)
	// Health is what the components say of themselves. It asks no server.
	Health() Health
	// Series are the samples of the last hour, oldest first.
	Series() []Sample
	// Leases says which engine holds what; none where this engine is the only one.
	Leases(ctx context.Context) ([]Lease, error)
	// Changes is another number after each change of the journal's head, of a view's position
	// or of an agent's presence, as far as this engine knows. It asks no server.
	Changes() uint64
}

// Health says whether commands are executed.
type Health struct {
	Version string
	Ready   bool
	Reasons []string // what is wrong, the worst first

	DeadLetters uint64
	Verified    time.Time // when the background audit last verified an aggregate; zero = not yet
}

// Sample is one point of the series.
type Sample struct {
	At       time.Time
	Over     time.Duration // since the sample before
	Commands uint64        // answered in that time
	Queries  uint64
	Appends  uint64            // events
	P50, P99 time.Duration     // of the answers to commands; 0 = there were none
	Lag      map[string]uint64 // events, by view
	Tiers    map[string]uint64 // reads answered in that time, by tier
}

// Lease is a time-bounded ownership.
type Lease struct {
	Name   string // what is held
	Holder string // an engine
	Here   bool   // it is this one
}
