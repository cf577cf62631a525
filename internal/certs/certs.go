// Package certs keeps the certificate of a listener current: it reads the PEM files
// of an operator, reads them again when they change, and serves TLS with the last
// ones that were usable. It knows no protocol above TLS.
package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// Files are the PEM files of a listener. The tags are those of the flags.
type Files struct {
	Cert     string `name:"tls-cert" help:"Certificate of the NATS listener and of HTTP, PEM, with the intermediate ones; turns on TLS." env:"TLS_CERT" placeholder:"FILE"`
	Key      string `name:"tls-key" help:"Private key of the certificate, PEM." env:"TLS_KEY" placeholder:"FILE"`
	ClientCA string `name:"tls-client-ca" help:"CA certificates that clients' certificates must come from, PEM; default: clients need none." env:"TLS_CLIENT_CA" placeholder:"FILE"`
}

// On reports whether the files ask for TLS.
func (f Files) On() bool { return f != Files{} }

// Check fails when the files cannot be served.
func (f Files) Check() error {
	if !f.On() {
		return nil
	}
	_, err := f.read()
	return err
}

// material is what the files hold. It does not change.
type material struct {
	sum     [sha256.Size]byte // of the files
	config  *tls.Config
	leaf    *x509.Certificate
	clients *x509.CertPool // nil = clients need no certificate
}

func (f Files) read() (*material, error) {
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("--tls-cert and --tls-key need each other, and --tls-client-ca needs both")
	}
	cert, err := os.ReadFile(f.Cert)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	key, err := os.ReadFile(f.Key)
	if err != nil {
		return nil, fmt.Errorf("--tls-key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert %s with --tls-key %s: %w", f.Cert, f.Key, err)
	}
	m := &material{leaf: pair.Leaf}
	var ca []byte
	if f.ClientCA != "" {
		if ca, err = os.ReadFile(f.ClientCA); err != nil {
			return nil, fmt.Errorf("--tls-client-ca: %w", err)
		}
		if m.clients = x509.NewCertPool(); !m.clients.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("--tls-client-ca %s holds no certificate in PEM", f.ClientCA)
		}
	}
	if now := time.Now(); now.After(m.leaf.NotAfter) {
		return nil, fmt.Errorf("--tls-cert %s expired at %s", f.Cert, m.leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	m.sum = sha256.Sum256(slices.Concat(cert, []byte{0}, key, []byte{0}, ca))
	m.config = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	return m, nil
}

// Certificates serve the newest usable content of Files. Its methods are safe for
// concurrent use.
type Certificates struct {
	files Files
	own   *own // nil = clients need no certificate

	mu      sync.Mutex
	now     *material
	problem string
	failed  int64
	notify  func()
}

// Open reads the files. It fails where they cannot be served.
func Open(f Files) (*Certificates, error) {
	m, err := f.read()
	if err != nil {
		return nil, err
	}
	c := &Certificates{files: f, now: m, notify: func() {}}
	if m.clients != nil {
		if c.own, err = newOwn(); err != nil {
			return nil, err
		}
		m.clients.AddCert(c.own.leaf)
	}
	return c, nil
}

// Config is the configuration of a listener. Every handshake uses the certificate
// that is current then; connections that exist are not touched. auth says what a
// client's certificate is for; it holds only with a client CA.
func (c *Certificates) Config(auth tls.ClientAuthType) *tls.Config {
	if c.own == nil {
		auth = tls.NoClientCert
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: auth,
		// The certificates are for libraries that look at them; handshakes do not use them.
		Certificates: c.current().config.Certificates,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			m := c.current()
			cfg := m.config.Clone()
			cfg.ClientAuth, cfg.ClientCAs = auth, m.clients
			return cfg, nil
		},
	}
}

func (c *Certificates) current() *material {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// ClientAuth reports whether clients need a certificate.
func (c *Certificates) ClientAuth() bool { return c.own != nil }

// OwnClient is a certificate and key, PEM, that the listener accepts from clients on
// the engine's own machine until it stops; empty where clients need none.
func (c *Certificates) OwnClient() (cert, key string) {
	if c.own == nil {
		return "", ""
	}
	return c.own.cert, c.own.key
}

// Fingerprint is the SHA-256 of the certificate that is served, in hex.
func (c *Certificates) Fingerprint() string { return Fingerprint(c.current().leaf) }

// Fingerprint is the SHA-256 of a certificate, in hex.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Covers reports whether the certificate that is served is for a host.
func (c *Certificates) Covers(host string) bool { return c.current().leaf.VerifyHostname(host) == nil }

// Status is what an operator must know.
type Status struct {
	NotAfter time.Time // end of the certificate that is served
	Problem  string    // why the files cannot be served now; empty = they are
	Failed   int64     // reloads that failed
}

// Status returns the state of the last reload.
func (c *Certificates) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{NotAfter: c.now.leaf.NotAfter, Problem: c.problem, Failed: c.failed}
	if s.Problem == "" && time.Now().After(s.NotAfter) {
		s.Problem = "the certificate expired at " + s.NotAfter.UTC().Format(time.RFC3339)
	}
	return s
}

// Reload reads the files again. It reports whether a new certificate is served; after
// an error the old one is.
func (c *Certificates) Reload() (changed bool, err error) {
	m, err := c.files.read()
	if err == nil && c.own != nil {
		m.clients.AddCert(c.own.leaf)
	}
	c.mu.Lock()
	if err != nil {
		c.problem = err.Error()
		c.failed++
	} else {
		changed = c.now.sum != m.sum
		c.now, c.problem = m, ""
	}
	notify := c.notify
	c.mu.Unlock()
	if changed {
		notify()
	}
	return changed, err
}

// Notify calls f after each change of the certificate that is served.
func (c *Certificates) Notify(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notify = f
}

// Watch reloads every interval until ctx ends. done is called after a change, and
// after an error that differs from the one before.
func (c *Certificates) Watch(ctx context.Context, interval time.Duration, done func(error)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		before := c.Status().Problem
		changed, err := c.Reload()
		if changed || err != nil && err.Error() != before {
			done(err)
		}
	}
}

// Pinned is the configuration of a client that accepts the certificate with a
// fingerprint, for any host and from any issuer. cert and key, PEM, are
// the client's own; empty = none.
func Pinned(fingerprint, cert, key string) (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection compares the whole certificate
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || Fingerprint(s.PeerCertificates[0]) != fingerprint {
				return errors.New("the server's certificate is not the one of the engine that serves the data directory")
			}
			return nil
		},
	}
	if cert != "" {
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
