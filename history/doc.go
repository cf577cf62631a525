// Package history is the journal and its archive read as one sequence: the ports that
// callers name, the ports that adapters implement, and everything between them
// (following, ranges, digest chains). It knows no technology and no read model.
package history
