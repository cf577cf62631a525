// Package outbox relays commands that applications insert into agents.outbox within
// their own transactions.
package outbox
