package app

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/lifecycle"
	"github.com/tidemark-engine/tidemark/internal/certs"
	"github.com/tidemark-engine/tidemark/internal/readiness"
)

// certsInterval is the pause between two looks at the TLS files.
const certsInterval = 2 * time.Second

// openCertificates reads the TLS files, if there are any, and looks at them again
// until the engine stops.
func (e *Engine) openCertificates() (err error) {
	if !e.cfg.TLS.On() {
		return nil
	}
	if e.certs, err = certs.Open(e.cfg.TLS); err != nil {
		return err
	}
	e.readiness.Check("tls", func() (readiness.Level, string) {
		if problem := e.certs.Status().Problem; problem != "" {
			return readiness.Degraded, problem
		}
		return readiness.OK, ""
	})
	e.stops.Add(lifecycle.InBackground(func(ctx context.Context) { e.certs.Watch(ctx, certsInterval, e.certsRead) }))
	return nil
}

// natsTLS is the configuration of the embedded server's listener; nil = without TLS.
func (e *Engine) natsTLS() *tls.Config {
	if e.certs == nil {
		return nil
	}
	return e.certs.Config(tls.RequireAndVerifyClientCert)
}

// Reload reads the TLS files again, for SIGHUP. It reports whether there are any.
func (e *Engine) Reload() bool {
	if e.certs == nil {
		return false
	}
	_, err := e.certs.Reload()
	e.certsRead(err)
	return true
}

// certsRead logs what the TLS files hold, once they have changed.
func (e *Engine) certsRead(err error) {
	if err != nil {
		e.log.Error("the TLS files cannot be used; the certificate read before stays in use", "error", err)
		return
	}
	e.log.Info("the TLS files are read", "expires", e.certs.Status().NotAfter.UTC().Format(time.RFC3339))
	if e.assembled.Load() {
		if err := e.writeNote(); err != nil {
			e.log.Error("clients on this machine do not find the new certificate", "error", err)
		}
	}
}

// tlsStatus is nil without TLS.
func (e *Engine) tlsStatus() *deployment.TLSStatus {
	if e.certs == nil {
		return nil
	}
	s := e.certs.Status()
	return &deployment.TLSStatus{Expires: s.NotAfter.UTC().Format(time.RFC3339), Clients: e.certs.ClientAuth(), Reason: s.Problem}
}
