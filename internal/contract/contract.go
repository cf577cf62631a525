// Package contract declares the wire contract once: the body of every command and query,
// every answer, event, value of a bucket, table and error code, each with its meaning. The
// micro service's metadata and docs/reference are made from it, and tests compare it with
// the code and with what a running engine sends. It declares and computes; it decides nothing.
package contract

import (
	"maps"
	"slices"
)

// Message is a declared command or query.
type Message struct {
	Doc    string // what it does: sentences
	Body   string // members, see Shape
	Answer string // name in Shapes; commands: empty = Receipt
	Errors string // codes that are its own, separated by spaces
}

// Type is a declared JSON object.
type Type struct {
	Doc  string
	Body string // members, see Shape
}

// Event is a declared event type.
type Event struct {
	Doc   string
	Data  string // name in Shapes of the member data
	State string // name in Shapes of the member state; empty = it has none
	Feed  string // subject on which the view feeds publishes it; empty = none
}

// Code is a declared error code.
type Code struct {
	Kind string // kind of the wire contract
	Doc  string
}

// Names are the keys of a table, sorted.
func Names[V any](table map[string]V) []string { return slices.Sorted(maps.Keys(table)) }
