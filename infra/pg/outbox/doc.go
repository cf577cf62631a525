// Package outbox executes the commands that applications insert into agents.outbox
// in their own transactions (transactional outbox), and stores the outcomes there.
// One engine at a time does so, for as long as it renews a lease in the database.
package outbox
