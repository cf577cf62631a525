// Package feeds publishes events under the subjects of the wire contract, in the streams
// AGENT_STATE, TASK_EXECUTION and AGENT_MESSAGES.
package feeds
