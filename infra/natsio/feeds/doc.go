// Package feeds publishes for subscribers: the view feeds publishes every event on the
// subjects of the wire contract, the view notifications publishes the changes that SQL
// has committed. It creates the streams AGENT_STATE, TASK_EXECUTION and AGENT_MESSAGES
// and their consumers. The engine reads no state from these streams.
package feeds
