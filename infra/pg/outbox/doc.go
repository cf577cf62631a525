// Package outbox executes the commands that applications insert into agents.outbox
// in their own transactions (transactional outbox), and stores the outcomes there.
package outbox
