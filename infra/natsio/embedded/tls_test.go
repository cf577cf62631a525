package embedded_test

import (
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/internal/certs"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// Other machines reach the listener only with both, TLS and authentication.
func TestAddressesOfOtherMachinesNeedTLSAndAuthentication(t *testing.T) {
	ca, dir := harness.NewCA(t), t.TempDir()
	f := certs.Files{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	ca.Issue(f.Cert, f.Key, "server", time.Hour, "127.0.0.1")
	c, err := certs.Open(f)
	harness.Must(t, err)
	withTLS := c.Config(tls.NoClientCert)
	for _, try := range []struct {
		tls           *tls.Config
		authenticated bool
	}{{nil, false}, {withTLS, false}, {nil, true}, {withTLS, true}} {
		s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Listen: "0.0.0.0:0", TLS: try.tls, Auth: try.authenticated, Log: harness.Log(t)})
		if may := try.tls != nil && try.authenticated; (err == nil) != may {
			t.Errorf("%+v: %v", try, err)
		}
		if err == nil {
			if !strings.HasPrefix(s.URL(), "tls://127.0.0.1:") {
				t.Error(s.URL())
			}
			s.Stop()
		}
	}
}

// The listener takes TLS alone, with the certificate that is current; the engine's
// connection in process and connections from before a rotation stay.
func TestTheListenerHasTLS(t *testing.T) {
	ca, dir := harness.NewCA(t), t.TempDir()
	f := certs.Files{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), ClientCA: ca.File}
	ca.Issue(f.Cert, f.Key, "one", time.Hour, "127.0.0.1")
	c, err := certs.Open(f)
	harness.Must(t, err)
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", TLS: c.Config(tls.RequireAndVerifyClientCert), Log: harness.Log(t)})
	harness.Must(t, err)
	t.Cleanup(s.Stop)
	ca.Issue(dir+"/client", dir+"/client.key", "client", time.Hour)
	client := []nats.Option{nats.RootCAs(ca.File), nats.ClientCert(dir+"/client", dir+"/client.key"), nats.NoReconnect()}
	in, err := nats.Connect(embedded.InProcess, s.Options()...)
	harness.Must(t, err)
	defer in.Close()
	before, err := nats.Connect(s.URL(), client...)
	harness.Must(t, err)
	defer before.Close()
	for name, opts := range map[string][]nats.Option{
		"no CA": {client[1]}, "no certificate": {client[0]}, "an old version": append(client, nats.Secure(&tls.Config{MaxVersion: tls.VersionTLS11, RootCAs: ca.Pool()})),
	} {
		if nc, err := nats.Connect(s.URL(), opts...); err == nil {
			t.Errorf("%s: accepted", name)
			nc.Close()
		}
	}
	ca.Issue(f.Cert, f.Key, "two", time.Hour, "127.0.0.1")
	if changed, err := c.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	after, err := nats.Connect(s.URL(), client...)
	harness.Must(t, err)
	defer after.Close()
	state, err := after.TLSConnectionState()
	if err != nil || state.PeerCertificates[0].Subject.CommonName != "two" {
		t.Error(state, err)
	}
	for name, nc := range map[string]*nats.Conn{"in process": in, "from before": before} {
		if err := nc.FlushTimeout(patience); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
