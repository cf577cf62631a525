// Package client talks to a Tidemark engine over NATS: it sends commands, reads, watches
// and follows the events.
//
// A [Client] makes the id of each command and sends the command again under that id until
// it has an answer, so a command takes effect once, also when a reply is lost. It carries
// the read tokens of the answers: a read sees at least what this client has written and
// read before, whichever engine and whichever store answers.
//
// Everything here stands on the wire contract in docs/reference/wire.md; a program in any
// language can do the same with plain NATS.
package client
