package app

import (
	"context"
	"os"
	"path/filepath"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/internal/redact"
)

// writeNotes writes the engine's addresses and, for an embedded server, its
// credentials into the data directory. Who finds the addresses finds the credentials.
func (e *Engine) writeNotes() error {
	var o deployment.Operator
	if e.certs != nil {
		o.TLSCert, o.TLSKey = e.certs.OwnClient()
	}
	if e.nats.Embedded != nil {
		creds, err := e.nats.Embedded.Authority().EngineCreds()
		if err != nil {
			return err
		}
		o.Creds = string(creds)
	} else {
		o.URL, o.Access = e.nats.URL, e.cfg.NATSAccess.Absolute()
	}
	if o.MasterKeyCommand = e.cfg.Keys.MasterKeyCommand; e.cfg.Keys.File() != "" {
		path, err := filepath.Abs(e.cfg.Keys.File())
		if err != nil {
			return err
		}
		o.MasterKey = path
	}
	if err := o.Write(e.cfg.Data); err != nil {
		return err
	}
	return e.writeNote()
}

// writeNote writes the addresses, and the certificate that clients on this machine
// find there.
func (e *Engine) writeNote() error {
	n := deployment.Note{PID: os.Getpid(), NATS: redact.URL(e.nats.URL), HTTP: e.http.URL(), Prefix: e.cfg.SubjectPrefix, Shared: e.nats.Accounts == nil}
	if e.certs != nil && e.nats.Embedded != nil {
		n.Fingerprint = e.certs.Fingerprint()
	}
	return n.Write(e.cfg.Data)
}

func (e *Engine) removeNotes(context.Context) {
	if err := deployment.RemoveNotes(e.cfg.Data); err != nil {
		e.log.Warn("cannot remove the engine's address from the data directory", "error", err)
	}
}
