// Package archive keeps a copy of every event in the table agents.events, partitioned by
// month, so that the journal can be trimmed.
package archive
