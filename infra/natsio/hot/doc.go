// Package hot is the hot read model: one KV bucket for each kind of row, written with
// compare-and-set and read as a tier.
package hot
