// Package journal keeps the journal in JetStream streams: appending with compare-and-set,
// reading, following, trimming and importing.
package journal
