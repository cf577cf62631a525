// Package tiers reads rows from memory, KV, SQL and the journal in that order, and hydrates,
// flushes and evicts the hot tier. The adapters of the tiers are in infra.
package tiers
