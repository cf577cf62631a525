// Package messages publishes messages between agents and folds the message stream into
// the durable read model.
package messages
