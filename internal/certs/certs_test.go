package certs_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/internal/certs"
	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func issued(t *testing.T) (*harness.CA, certs.Files) {
	dir := t.TempDir()
	ca := harness.NewCA(t)
	f := certs.Files{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	ca.Issue(f.Cert, f.Key, "one", time.Hour, "engine.test")
	return ca, f
}

func TestFilesThatCannotBeServedAreRefused(t *testing.T) {
	ca, f := issued(t)
	dir := t.TempDir()
	text, old := filepath.Join(dir, "text"), filepath.Join(dir, "old")
	harness.Must(t, os.WriteFile(text, []byte("SECRET"), 0o600))
	ca.Issue(old, old+".key", "old", -time.Hour)
	for says, bad := range map[string]certs.Files{
		"--tls-cert and --tls-key need each other": {Cert: f.Cert},
		"--tls-client-ca needs both":               {ClientCA: ca.File},
		"no such file":                             {Cert: f.Cert, Key: dir + "/none"},
		"--tls-cert " + text:                       {Cert: text, Key: f.Key},
		"does not match":                           {Cert: f.Cert, Key: old + ".key"},
		"expired":                                  {Cert: old, Key: old + ".key"},
		"holds no certificate":                     {Cert: f.Cert, Key: f.Key, ClientCA: text},
	} {
		if err := bad.Check(); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%+v: %v", bad, err)
		}
		if _, err := certs.Open(bad); err == nil {
			t.Errorf("%+v is opened", bad)
		}
	}
	if err := (certs.Files{}).Check(); err != nil || f.Check() != nil {
		t.Error(err, f.Check())
	}
}

// served accepts connections and answers each byte with itself.
func served(t *testing.T, cfg *tls.Config) string {
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	harness.Must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 1)
				for {
					if _, err := c.Read(b); err != nil {
						return
					}
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func echo(c net.Conn) error {
	b := []byte("x")
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := c.Read(b)
	return err
}

func dial(t *testing.T, addr string, cfg *tls.Config) (*tls.Conn, error) {
	t.Helper()
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return c, echo(c)
}

// A new certificate is served without closing a connection; files that are broken in
// between leave the old one in use and are reported.
func TestCertificatesRotate(t *testing.T) {
	ca, f := issued(t)
	c, err := certs.Open(f)
	harness.Must(t, err)
	addr := served(t, c.Config(tls.RequireAndVerifyClientCert))
	trust := &tls.Config{RootCAs: ca.Pool(), ServerName: "engine.test"}
	first, err := dial(t, addr, trust)
	harness.Must(t, err)
	named := func() string {
		t.Helper()
		c, err := dial(t, addr, trust)
		harness.Must(t, err)
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if _, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.Pool(), ServerName: "engine.test", MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}

	ctx, stop := context.WithCancel(t.Context())
	done, ended := make(chan error, 10), make(chan struct{})
	go func() { defer close(ended); c.Watch(ctx, 5*time.Millisecond, func(err error) { done <- err }) }()
	harness.Must(t, os.WriteFile(f.Cert, []byte("half a file"), 0o600))
	if err := harness.Receive(t, "a refusal", done); err == nil {
		t.Error("half a file is read")
	}
	if s := c.Status(); named() != "one" || s.Problem == "" || s.Failed == 0 || !s.NotAfter.After(time.Now()) {
		t.Errorf("after a bad file: %s, %+v", named(), s)
	}
	before := c.Fingerprint()
	ca.Issue(f.Cert, f.Key, "two", 2*time.Hour, "engine.test")
	for err := range done { // cert and key are written one after the other
		if err == nil {
			break
		}
	}
	stop()
	<-ended
	if s := c.Status(); named() != "two" || s.Problem != "" || c.Fingerprint() == before || !s.NotAfter.After(time.Now().Add(time.Hour)) {
		t.Errorf("after a good file: %s, %+v", named(), s)
	}
	if err := echo(first); err != nil {
		t.Errorf("the connection from before: %v", err)
	}
	if changed, err := c.Reload(); changed || err != nil {
		t.Errorf("the same files: %t, %v", changed, err)
	}
	if !c.Covers("engine.test") || c.Covers("evil.test") || c.Covers("") {
		t.Error("the certificate's names")
	}
}

// With a client CA only its clients get in, and tools on the engine's own machine.
func TestClientCertificates(t *testing.T) {
	ca, f := issued(t)
	f.ClientCA = ca.File
	c, err := certs.Open(f)
	harness.Must(t, err)
	addr := served(t, c.Config(tls.RequireAndVerifyClientCert))
	file := filepath.Join(t.TempDir(), "client")
	pair := func(ca *harness.CA) []tls.Certificate {
		ca.Issue(file, file+".key", "client", time.Hour)
		pair, err := tls.LoadX509KeyPair(file, file+".key")
		harness.Must(t, err)
		return []tls.Certificate{pair}
	}
	own, key := c.OwnClient()
	pinned, err := certs.Pinned(c.Fingerprint(), own, key)
	harness.Must(t, err)
	wrong, err := certs.Pinned(strings.Repeat("0", 64), own, key)
	harness.Must(t, err)
	for name, try := range map[string]struct {
		cfg *tls.Config
		ok  bool
	}{
		"none":             {&tls.Config{RootCAs: ca.Pool(), ServerName: "engine.test"}, false},
		"the CA's":         {&tls.Config{RootCAs: ca.Pool(), ServerName: "engine.test", Certificates: pair(ca)}, true},
		"another CA's":     {&tls.Config{RootCAs: ca.Pool(), ServerName: "engine.test", Certificates: pair(harness.NewCA(t))}, false},
		"the engine's own": {pinned, true},
		"another engine's": {wrong, false},
	} {
		for _, again := range []bool{false, true} { // the engine's own stays after a reload
			if again {
				_, err := c.Reload()
				harness.Must(t, err)
			}
			if _, err := dial(t, addr, try.cfg); (err == nil) != try.ok || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
