package keys

import (
	"context"
	"errors"
)

// Store keeps the wrapped keys, apart from the journal and SQL: a backup of those does
// not have them.
type Store interface {
	// Get returns the last body of a name, from the leader; revision 0 = there is none.
	Get(ctx context.Context, name string) (body []byte, revision uint64, err error)
	// Put stores a body after the one at a revision; ErrChanged if that is not the
	// last one.
	Put(ctx context.Context, name string, body []byte, after uint64) (revision uint64, err error)
	// Shred overwrites and removes the bodies of a name up to a revision; 0 = all but the last.
	Shred(ctx context.Context, name string, upTo uint64) error
	// Names returns the names that begin with a prefix.
	Names(ctx context.Context, prefix string) ([]string, error)
	// Last returns the revision of the last body of all names, from the leader; 0 = there
	// is none.
	Last(ctx context.Context) (revision uint64, err error)
	// Follow reports every change after a revision in order, until ctx ends. It returns
	// once it follows.
	Follow(ctx context.Context, after uint64, changed func(name string, revision uint64)) error
}

// ErrChanged means that another process has changed a record first.
var ErrChanged = errors.New("the key record has changed")

// errNoMaster: the master key is not at hand.
var errNoMaster = errors.New("that master key is not among those given: give it with --master-key, --master-key-command or TIDEMARK_MASTER_KEY")

// Names in the store.
const (
	agentPrefix   = "agent."
	pendingPrefix = "pending."
	masterName    = "master"
)
