// Package journal stores the journal in JetStream streams: it appends with
// compare-and-set, reads, follows, trims and imports. The archive is not its concern.
package journal
