// Package durable is the durable read model in PostgreSQL: the tables that the
// durable view writes in one transaction with its checkpoint, their rebuild in a
// shadow schema, and the queries over them.
package durable
