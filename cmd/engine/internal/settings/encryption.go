package settings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
)

// Encrypted reports whether the engine encrypts the content of agents.
func (c *Config) Encrypted() bool { return c.Encryption == "on" }

// UseMasterKey makes a master key in the data directory where none is given.
func (c *Config) UseMasterKey(log *slog.Logger) error {
	if !c.Encrypted() || c.Keys.Given() {
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

// StorageKey is the key of the embedded server's files; "" = they are not encrypted.
func (c *Config) StorageKey(ctx context.Context) (string, error) {
	if !c.Encrypted() {
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
