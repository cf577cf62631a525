// Package tiers reads rows from memory, KV, SQL and history in that order, and hydrates the
// hot tier.
package tiers
