// Package query answers the queries of the wire contract as JSON.
package query
