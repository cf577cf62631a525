package app

import (
	"context"
	"errors"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/readiness"
)

// watchArchive asks each second whether the archive has all events that were
// trimmed from the journal: without them, commands that may be repetitions are
// refused.
func (e *Engine) watchArchive() (stop func(context.Context)) {
	return lifecycle.InBackground(func(ctx context.Context) {
		e.readiness.Run(ctx, readiness.Probe{Component: "archive", Level: readiness.NotReady, Ask: e.archiveComplete})
	})
}

func (e *Engine) archiveComplete(ctx context.Context) error {
	for p := range e.journal.Partitions() {
		if _, err := e.journal.Head(ctx, p); err != nil {
			return nil // the component journal says so
		}
		if err := e.journal.history.Missing(ctx, p); err != nil {
			return publicError(err)
		}
	}
	return nil
}

// publicError is the part of an error that clients may read.
func publicError(err error) error {
	var known *domain.Error
	if errors.As(err, &known) {
		return known
	}
	return err
}
