// Package verify compares every tier with the fold of the history: all of it on demand, samples in
// the background. It repairs the rows that differ through the tiers' own writers.
package verify
