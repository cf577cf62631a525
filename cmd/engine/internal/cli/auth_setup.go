package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
)

// AuthInit makes the keys.
type AuthInit struct {
	authTarget
	External     bool `help:"For an engine on an external NATS server, whose configuration file has the accounts."`
	OperatorMode bool `help:"With --external: the server trusts the operator of these keys (operator mode)."`
}

// Validate refuses flags that do not fit.
func (c *AuthInit) Validate() error {
	if c.OperatorMode && !c.External {
		return errors.New("--operator-mode needs --external: the embedded server is always in operator mode")
	}
	return c.Target.Validate()
}

// external makes the keys for an external server.
func (c *AuthInit) external(out *Output) error {
	mode := auth.ConfigFile
	if c.OperatorMode {
		mode = auth.OperatorMode
	}
	if o, err := deployment.ReadOperator(c.Data); err == nil && o.Creds != "" {
		return fmt.Errorf("an engine serves %s with its embedded NATS server: stop it first, or name another --data", c.Data)
	}
	dir := embedded.KeysDir(c.Data)
	keys, err := c.openKeys(dir)
	if err == nil {
		err = keys.SetMode(mode)
	}
	if err != nil {
		return err
	}
	engine, flag := keys.EngineFile(mode), "--nats-creds"
	if mode == auth.ConfigFile {
		flag = "--nats-nkey"
	}
	return out.Result(struct {
		Dir      string    `json:"dir"`
		Mode     auth.Mode `json:"mode"`
		Engine   string    `json:"engine_creds"`
		Operator string    `json:"operator_creds"`
	}{dir, mode, engine, filepath.Join(dir, "operator.creds")}, func() {
		out.Printf("The keys are in %s; who can read it is the operator.\nAdd principals with 'engine auth add', configure the NATS server with what 'engine auth print-config' prints, "+
			"then serve with --nats URL %s %s --auth on.\n", dir, flag, engine)
	})
}

// Run implements the command.
func (c *AuthInit) Run(ctx context.Context, out *Output) error {
	if err := os.MkdirAll(c.Data, 0o755); err != nil {
		return err
	}
	if c.External {
		return c.external(out)
	}
	c.makes = true
	return c.with(ctx, func(_ context.Context, w *authWork) error {
		dir := embedded.KeysDir(c.Data)
		return out.Result(struct {
			Dir   string `json:"dir"`
			Creds string `json:"operator_creds"`
		}{dir, filepath.Join(dir, "operator.creds")}, func() {
			out.Printf("The keys are in %s; who can read it is the operator.\nAdd principals with 'engine auth add', then serve with --auth on.\n", dir)
		})
	})
}

// AuthPrint prints the configuration of an external server. It needs the keys alone.
type AuthPrint struct {
	authTarget
	OperatorMode bool   `help:"The server trusts the operator of the keys, and new principals need no reload."`
	ServerName   string `help:"Name of the server; each of a cluster has its own." default:"tidemark" placeholder:"NAME"`
	Listen       string `help:"Address for clients." default:"127.0.0.1:4222" placeholder:"ADDR"`
	StoreDir     string `help:"Directory of JetStream; the accounts of operator mode are beside it." default:"./nats-data" placeholder:"DIR"`
}

// Run implements the command.
func (c *AuthPrint) Run(_ context.Context, out *Output) error {
	dir := embedded.KeysDir(c.Data)
	if !auth.Exists(dir) {
		return fmt.Errorf("%s has no keys: make them with 'engine auth init --external'", c.Data)
	}
	if _, err := c.Find(); err != nil && !errors.Is(err, deployment.ErrUnreachable) { // it knows the subject prefix
		return err
	}
	keys, err := c.openKeys(dir)
	if err != nil {
		return err
	}
	mode := auth.ConfigFile
	if c.OperatorMode {
		mode = auth.OperatorMode
	}
	text, err := keys.PrintConfig(mode, auth.ServerConfig{
		Name: c.ServerName, Listen: c.Listen, Store: filepath.Join(c.StoreDir, "jetstream"), Accounts: filepath.Join(c.StoreDir, "accounts"), MaxPayload: embedded.MaxPayload,
	})
	if err != nil {
		return err
	}
	result := struct {
		Mode   auth.Mode `json:"mode"`
		Engine string    `json:"engine_creds"`
		Config string    `json:"config"`
	}{mode, keys.EngineFile(mode), text}
	return out.Result(result, func() { fmt.Fprint(out, text) })
}
