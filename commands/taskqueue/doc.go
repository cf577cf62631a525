// Package taskqueue answers tasks.next. It keeps an index in memory of the tasks that
// wait for a claim, as the journal says, and chooses from it; the claim itself is a
// command, so a stale index, or another engine's, costs an attempt and never a task that
// is claimed twice. It knows no technology.
package taskqueue
