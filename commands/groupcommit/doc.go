// Package groupcommit makes several appends durable with one sync. It collects
// the appends that arrive while one is under way and sends them together: as
// one atomic batch or in parallel, whichever is faster on this disk. It is an
// appender over an appender and does not know commands.
package groupcommit
