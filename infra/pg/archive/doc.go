// Package archive copies every event to the table agents.events, partitioned by
// month, so that the journal can be trimmed. It is the target of the archive view
// and answers questions about old events.
package archive
