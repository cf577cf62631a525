package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
)

// credentials makes the credentials of a principal in the store, also where its keys are
// missing or left by a subcommand that was interrupted.
func (w *authWork) credentials(ctx context.Context, actor string, p principals.Principal) ([]byte, principals.Principal, error) {
	creds, err := w.keys.NewPrincipal(p.Name)
	if errors.Is(err, auth.ErrExists) {
		creds, err = w.keys.Rotate(p.Name)
	}
	if err == nil && w.keys.Mode() != auth.Embedded {
		var account string
		if account, err = w.keys.Account(p.Name); err == nil {
			p, err = w.Bind(ctx, actor, p.Name, account)
		}
	}
	if err == nil {
		err = w.apply(ctx, p)
	}
	return creds, p, err
}

// end ends the credentials of a revoked principal; those that have ended stay so.
func (w *authWork) end(ctx context.Context, p principals.Principal) error {
	profile, err := json.Marshal(p)
	if err != nil {
		return err
	}
	for _, step := range []error{w.keys.Apply(p.Name, nil, profile), w.keys.Revoke(p.Name)} {
		if step != nil && !errors.Is(step, auth.ErrUnknown) {
			return step
		}
	}
	if w.push == nil {
		return nil
	}
	if err := w.push(ctx, p.Name); !errors.Is(err, auth.ErrUnknown) { // no keys: there is nothing to revoke
		return err
	}
	return nil
}

// issue writes credentials into a new file, which is there once it is complete. It replaces
// none.
func issue(path string, creds func() ([]byte, error)) (err error) {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return usagef("%s exists, and credentials files are never overwritten: move it away, or name another --out", path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600; it shows that the directory can be written
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	text, err := creds()
	if err == nil {
		_, err = f.Write(text)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// The file system has no hard links.
	only, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the credentials: %w", err)
	}
	_, err = only.Write(text)
	return errors.Join(err, only.Sync(), only.Close())
}
