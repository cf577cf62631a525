// Package principals keeps who may use an engine, and what was done with that: the
// stream AUDIT has an event for each change of a principal, for refusals and for what
// operators do. All events are one digest chain. The last event of a principal has its
// whole state, so that every engine knows all principals from the stream alone.
package principals
