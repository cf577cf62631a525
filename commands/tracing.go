package commands

import (
	"errors"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/internal/trace"
)

// spanDecide and spanAppend are the steps of a traced command, below the span of its
// request.
const (
	spanDecide = "decide"
	spanAppend = "append"
)

// traceAppend records an append that began at a time and has ended, in the trace of
// each of its commands. Commands of one request share a span.
func (h *Handler) traceAppend(began time.Time, writes []history.Write, cmds []*Command, done history.Appended, err error) {
	var last trace.Context
	for _, cmd := range cmds {
		if cmd.trace.Parent == last.Parent {
			continue
		}
		last = cmd.trace
		span := h.cfg.Trace.Since(cmd.trace, spanAppend, began)
		if !span.Recording() {
			continue
		}
		span.Int("tidemark.partition", int64(h.journal.Partition(writes[0].Name.ID())))
		span.Int("tidemark.events", int64(len(writes)))
		if err == nil {
			span.Int("tidemark.revision", int64(done.Revision)) //nolint:gosec // a sequence of a stream fits
		} else {
			span.Failed(appendFailure(err))
		}
		span.End()
	}
}

// appendFailure is the word for the error of an append in a span.
func appendFailure(err error) string {
	var known *domain.Error
	switch {
	case errors.Is(err, history.ErrConflict):
		return "conflict"
	case errors.Is(err, history.ErrOutcomeUnknown):
		return "outcome_unknown"
	case errors.As(err, &known):
		return known.Code
	}
	return "unavailable"
}
