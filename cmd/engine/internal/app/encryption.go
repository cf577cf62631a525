package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio/keystore"
	"github.com/tidemark-engine/tidemark/internal/keys"
)

// encrypted reports whether the engine encrypts the content of agents.
func (c *Config) encrypted() bool { return c.Encryption == "on" }

// useMasterKey makes a master key in the data directory where none is given.
func (c *Config) useMasterKey(log *slog.Logger) error {
	if !c.encrypted() || c.Keys.Given() {
		return nil
	}
	made, err := deployment.MakeMasterKey(c.Data)
	if err != nil {
		return err
	}
	c.Keys.MasterKey = deployment.MasterKeyFile(c.Data)
	if made {
		log.Warn("a master key was made in the data directory; keep a copy elsewhere: without it the data cannot be read, and who has the directory can read them", "file", c.Keys.MasterKey)
	}
	return nil
}

// storageKey is the key of the embedded server's files; "" = they are not encrypted.
func (c *Config) storageKey(ctx context.Context) (string, error) {
	if !c.encrypted() {
		if on, err := deployment.Encrypted(c.Data); on || err != nil {
			return "", errors.Join(err, fmt.Errorf("the data directory %s is encrypted: start with --encryption on and its master key", c.Data))
		}
		return "", nil
	}
	masters, err := c.Keys.Load(ctx)
	if err != nil {
		return "", err
	}
	return deployment.MakeStorageKey(c.Data, masters)
}

// openKeys opens the key store and makes the journal an encrypted one, or refuses a
// journal that is encrypted and an engine that does not encrypt.
func (e *Engine) openKeys(ctx context.Context) error {
	known := e.journal.Encrypted()
	if !e.cfg.encrypted() {
		if known != "" {
			return errors.New("the journal is encrypted: start with --encryption on and its master key")
		}
		e.journal.stores.OpenWith(keys.Closed{})
		return nil
	}
	nc, err := e.nats.connect("keys")
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
	e.stops.add(func(context.Context) { stop() })
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
