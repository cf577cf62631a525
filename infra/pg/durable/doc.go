// Package durable is the durable read model: the tables that the durable view writes with
// its checkpoint, their rebuild beside the live ones, and the reads over them.
package durable
