package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/infra/natsio/keystore"
	"github.com/tidemark-engine/tidemark/internal/keys"
)

// openKeys opens the key store and makes the journal an encrypted one, or refuses a
// journal that is encrypted and an engine that does not encrypt.
func (e *Engine) openKeys(ctx context.Context) error {
	known := e.journal.Encrypted()
	if !e.cfg.Encrypted() {
		if known != "" {
			return errors.New("the journal is encrypted: start with --encryption on and its master key")
		}
		e.journal.stores.OpenWith(keys.Closed{})
		return nil
	}
	nc, err := e.nats.Connect("keys")
	if err != nil {
		return err
	}
	create := ulid.Make().String()
	var store *keystore.Store
	if known != "" && !e.cfg.AcceptJournal {
		create = ""
		if store, err = keystore.OpenExisting(ctx, nc); err == nil && store == nil {
			err = keys.ErrNoStore
		}
	} else {
		store, err = keystore.Open(ctx, nc)
	}
	dataSet := ""
	if err == nil {
		e.keyStore, e.keys = store, keys.New(store, e.cfg.Keys.Load, e.log)
		dataSet, err = e.keys.Load(ctx, create)
	}
	if errors.Is(err, keys.ErrNoStore) || err == nil && known != "" && known != dataSet && !e.cfg.AcceptJournal {
		return fmt.Errorf("the journal is encrypted with the keys of key store %s, and the NATS server has %s: "+
			"restore its stream %s from a backup, or start with --accept-journal: then all values that those keys have encrypted count as erased",
			known, orNone(dataSet), keystore.StreamName)
	}
	if err != nil {
		return err
	}
	following, stop := context.WithCancel(context.Background())
	e.stops.Add(func(context.Context) { stop() })
	if err := e.keys.Follow(following); err != nil {
		return err
	}
	e.journal.stores.OpenWith(e.keys)
	return e.journal.Encrypt(ctx, dataSet)
}

func orNone(dataSet string) string {
	if dataSet == "" {
		return "none"
	}
	return "key store " + dataSet
}
