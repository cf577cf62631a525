// Package projections folds the journal into views. A view is a pure fold; the
// runner reads the journal from the view's own checkpoint, hands the view its
// events in batches, and lets it move on only if its position is still where
// it was read.
package projections

import "errors"

// ErrFenced means that somebody else has moved the checkpoint: a second
// runner, or a hand. Nothing was written; read the checkpoint again.
var ErrFenced = errors.New("projections: the checkpoint is not where it was read")
