// Package query answers the queries of the wire contract as JSON: it parses the request, reads the
// tiers or the history, and encodes the answer. Transport is not its job.
package query
