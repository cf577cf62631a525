package deployment

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/natsio/keystore"
	"github.com/tidemark-engine/tidemark/internal/files"
	"github.com/tidemark-engine/tidemark/internal/keys"
)

// storageNote is the file storage-key.json: the key that encrypts the files of the
// embedded NATS server, wrapped by the master key. Without it the files are lost.
type storageNote struct {
	Master  string `json:"master"`
	Wrapped string `json:"wrapped"`
}

const storagePurpose = "storage"

// MasterKeyFile is the file in a data directory that holds the master key where an
// engine was given none.
func MasterKeyFile(data string) string { return filepath.Join(data, "master.key") }

// MakeMasterKey makes that file, unless it is there. It refuses when the directory has
// been encrypted with another one.
func MakeMasterKey(data string) (made bool, err error) {
	path := MasterKeyFile(data)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if encrypted, err := Encrypted(data); encrypted || err != nil {
		return false, errors.Join(err, fmt.Errorf("the data directory %s is encrypted and %s is not there: restore it, or give its master key with --master-key FILE, --master-key-command CMD or TIDEMARK_MASTER_KEY", data, path))
	}
	return true, files.Replace(path, []byte(keys.NewSecret()+"\n"))
}

// MasterKey is the source of the master key of a data directory: the given one, else
// what its engine has noted, else the file that an engine makes itself.
func MasterKey(data string, given *keys.Source) *keys.Source {
	if given.Given() {
		return given
	}
	if o, err := ReadOperator(data); err == nil && (o.MasterKey != "" || o.MasterKeyCommand != "") {
		return &keys.Source{MasterKey: o.MasterKey, MasterKeyCommand: o.MasterKeyCommand}
	}
	if _, err := os.Stat(MasterKeyFile(data)); err == nil {
		return &keys.Source{MasterKey: MasterKeyFile(data)}
	}
	return given
}

func storagePath(data string) string { return filepath.Join(data, "storage-key.json") }

// Encrypted reports whether the embedded server of a data directory encrypts its files.
func Encrypted(data string) (bool, error) {
	var n storageNote
	err := readJSON(storagePath(data), &n)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// StorageKey returns the key of the embedded server's files; "" where they are not
// encrypted.
func StorageKey(ctx context.Context, data string, source *keys.Source) (string, error) {
	encrypted, err := Encrypted(data)
	if err != nil || !encrypted {
		return "", err
	}
	if source = MasterKey(data, source); !source.Given() {
		return "", fmt.Errorf("the data directory %s is encrypted: give its master key with --master-key FILE, --master-key-command CMD or TIDEMARK_MASTER_KEY, and serve with --encryption on", data)
	}
	masters, err := source.Load(ctx)
	if err != nil {
		return "", err
	}
	return openStorageKey(data, masters)
}

func openStorageKey(data string, masters keys.Masters) (string, error) {
	var n storageNote
	if err := readJSON(storagePath(data), &n); err != nil {
		return "", fmt.Errorf("read %s: %w", storagePath(data), err)
	}
	m := masters.Find(n.Master)
	if m == nil {
		return "", fmt.Errorf("%w: %s is encrypted with master key %s, and the one given is %s", keys.ErrWrongMaster, data, n.Master, masters[0].ID)
	}
	wrapped, err := base64.StdEncoding.DecodeString(n.Wrapped)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", storagePath(data), err)
	}
	key, err := m.Unwrap(wrapped, storagePurpose)
	return string(key), err
}

// MakeStorageKey returns the key of the embedded server's files and makes it where
// there is none. It wraps it with the first of the master keys. While an engine serves
// the directory, only a rotation may call it.
func MakeStorageKey(data string, masters keys.Masters) (key string, err error) {
	encrypted, err := Encrypted(data)
	if err != nil {
		return "", err
	}
	if encrypted {
		if key, err = openStorageKey(data, masters); err != nil {
			return "", err
		}
		var n storageNote
		if err := readJSON(storagePath(data), &n); err == nil && n.Master == masters[0].ID {
			return key, nil
		}
	} else {
		key = keys.NewSecret()
	}
	return key, files.ReplaceJSON(storagePath(data), storageNote{
		Master: masters[0].ID, Wrapped: base64.StdEncoding.EncodeToString(masters[0].Wrap([]byte(key), storagePurpose)),
	})
}

// openKeys makes the stores decrypt, where the journal is encrypted. source names the
// master key; where it names none it is the one that the engine of the data directory
// has noted.
func (s *Stores) openKeys(ctx context.Context, nc *nats.Conn, data string, source *keys.Source) error {
	if s.Journal.Encrypted() == "" {
		return nil
	}
	if source = MasterKey(data, source); !source.Given() {
		return errors.New("the journal is encrypted: give its master key with --master-key FILE, --master-key-command CMD or TIDEMARK_MASTER_KEY")
	}
	store, err := keystore.OpenExisting(ctx, nc)
	if err == nil && store == nil {
		err = keys.ErrNoStore
	}
	if err != nil {
		return err
	}
	ring := keys.New(store, source.Load, slog.New(slog.DiscardHandler))
	if _, err := ring.Load(ctx, ""); err != nil {
		return err
	}
	s.OpenWith(ring)
	s.Keys = ring
	return nil
}

var _ history.Opener = (*keys.Ring)(nil)
