// Package quarantine stores which events of which aggregates a view cannot apply, in a
// KV bucket, and carries requests to retry or drop them.
package quarantine
