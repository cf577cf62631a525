// Package projections folds the journal into views. A view is a pure fold; the runner reads the
// journal from the view's checkpoint, writes batches of changes to the view's target, and advances
// the checkpoint only if it is still where it was read. The targets themselves are in infra.
package projections

import "errors"

// ErrFenced means that another process has moved the checkpoint. Nothing was written; load the
// checkpoint again.
var ErrFenced = errors.New("another process has moved the checkpoint")
