package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio/coordination"
	"github.com/tidemark-engine/tidemark/infra/natsio/keystore"
	"github.com/tidemark-engine/tidemark/internal/counted"
	"github.com/tidemark-engine/tidemark/internal/files"
	"github.com/tidemark-engine/tidemark/internal/keys"
)

// RotateMaster wraps the keys of all agents with a new master key while engines serve.
type RotateMaster struct {
	deployment.Target
	Keys    keys.Source `embed:""`
	NewKey  string      `name:"new-key" help:"File with the new master key; default: one is made. Only with --master-key FILE." placeholder:"FILE"`
	KeepOld bool        `help:"Leave the old master key in the file, behind the new one."`
}

// Run implements the command. With a key file it writes the new key before the old one,
// wraps, and removes the old one. Where a command or the environment gives the key, it
// must give the new one first and then the old one; engines that have the key from
// their environment must have been restarted with both.
func (c *RotateMaster) Run(ctx context.Context, out *Output) error {
	nc, err := c.ConnectOperator(ctx, "auth")
	if err != nil {
		return err
	}
	defer nc.Close()
	s, _, err := c.Status(ctx, nc)
	if err != nil {
		return err
	}
	c.Keys = *deployment.MasterKey(s.Data, &c.Keys)
	store, err := keystore.OpenExisting(ctx, nc)
	if err != nil {
		return err
	}
	if store == nil {
		return errors.New("the engine does not encrypt: there is no key store to rotate")
	}
	file := c.Keys.File()
	if file == "" && c.NewKey != "" {
		return errors.New("--new-key needs --master-key FILE: elsewhere the source must give the new key first and then the old one")
	}
	c.SubjectPrefix = s.Prefix
	// Of two that change the file at once, one would drop the key that the other wraps with.
	err = coordination.WithLock(ctx, nc, "rotate-master", func(ctx context.Context) error {
		return c.rotate(ctx, nc, keys.New(store, c.Keys.Load, slog.New(slog.DiscardHandler)), file, &s, out)
	})
	if errors.Is(err, coordination.ErrLocked) {
		err = fmt.Errorf("the master key is being rotated already: %w", err)
	}
	return err
}

func (c *RotateMaster) rotate(ctx context.Context, nc *nats.Conn, ring *keys.Ring, file string, s *deployment.Status, out *Output) error {
	if _, err := ring.Load(ctx, ""); err != nil { // before the file is changed
		return err
	}
	if file != "" {
		wraps, err := ring.Wrapping(ctx)
		if err == nil {
			err = c.prepend(ctx, file, wraps)
		}
		if err != nil {
			return err
		}
	}
	recordAct(ctx, nc, &c.Target, "auth rotate-master", "")
	bar := NewProgress(-1, "keys", "keys")
	changed, err := ring.Rotate(ctx, bar.Step)
	bar.End()
	if err != nil {
		return fmt.Errorf("rotate the master key: %w (run the command again: it continues)", err)
	}
	masters := ring.Masters()
	if s.NATS.Embedded() {
		if _, err := deployment.MakeStorageKey(s.Data, masters); err != nil {
			return fmt.Errorf("wrap the key of the data directory: %w", err)
		}
	}
	if file != "" && !c.KeepOld {
		if err := keepFirst(file); err != nil {
			return err
		}
	}
	return out.Result(struct {
		Master string `json:"master"`
		Keys   int    `json:"keys"`
	}{masters[0].ID, changed}, func() {
		out.Printf("the keys of %s are wrapped with master key %s\n", counted.Of(changed, "agent"), masters[0].ID)
	})
}

// prepend writes the new key before those in the file. A run that was interrupted may have
// done so: then the data set is wrapped with another one than the first, wraps.
func (c *RotateMaster) prepend(ctx context.Context, file, wraps string) error {
	masters, err := c.Keys.Load(ctx)
	if err != nil {
		return err
	}
	secret := keys.NewSecret()
	if c.NewKey != "" {
		text, err := os.ReadFile(c.NewKey)
		if err != nil {
			return fmt.Errorf("read the new master key: %w", err)
		}
		secret = strings.TrimSpace(string(text))
		source := keys.Source{MasterKey: c.NewKey}
		fresh, err := source.Load(ctx)
		if err != nil {
			return err
		}
		if len(fresh) != 1 {
			return fmt.Errorf("--new-key must hold one key, it holds %d", len(fresh))
		}
		if fresh[0].ID == masters[0].ID {
			return nil
		}
	} else if wraps != masters[0].ID {
		return nil
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the master key: %w", err)
	}
	return writeKeys(file, secret+"\n"+keys.Text(old))
}

// keepFirst removes all keys but the first from a file.
func keepFirst(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the master key: %w", err)
	}
	first, _, _ := strings.Cut(keys.Text(text), "\n")
	return writeKeys(file, first+"\n")
}

// writeKeys replaces a key file: the new key is durable before it wraps anything.
func writeKeys(file, text string) error {
	if err := files.Replace(file, []byte(text)); err != nil {
		return fmt.Errorf("write the master key: %w", err)
	}
	return nil
}
