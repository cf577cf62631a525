package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestTLS: an engine whose listeners have TLS and demand client certificates is used
// by every client command, here without a flag and elsewhere with certificates; a new
// certificate is served without closing a connection, a broken one is shown.
func TestTLS(t *testing.T) {
	t.Parallel()
	ca, dir := harness.NewCA(t), harness.TempDir(t)
	cert, key, client := dir+"/cert", dir+"/key", dir+"/client"
	ca.Issue(cert, key, "one", time.Hour, "127.0.0.1")
	ca.Issue(client, client+".key", "client", time.Hour)
	flags := []string{"--postgres", "off", "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca.File}
	e := harness.Start(t, harness.Config{Args: flags})
	if !strings.HasPrefix(e.NATSURL, "tls://") || !strings.HasPrefix(e.HTTPURL, "https://") {
		t.Errorf("addresses: %s %s", e.NATSURL, e.HTTPURL)
	}
	c := e.Client(t, nats.RootCAs(ca.File), nats.ClientCert(client, client+".key"))
	closed := make(chan struct{}, 1)
	c.SetDisconnectErrHandler(func(*nats.Conn, error) { closed <- struct{}{} })
	c.MustSet(t, "a1", "k", 1, nil)

	here := []string{"--data", e.Data}
	there := []string{"--server", e.NATSURL, "--tls-ca", ca.File, "--tls-cert", client, "--tls-key", client + ".key"}
	for _, command := range [][]string{
		{"status"}, {"send", "commands.agent.a1.set", `{"key":"k","value":2}`}, {"query", "queries.agent.a1.get", `{"key":"k"}`},
		{"replay"}, {"verify"}, {"dlq", "list"}, {"topology", "plan"}, {"archive", "export", dir + "/x.gz"}, {"rebuild", "hot"}, {"demo", "--json"},
	} {
		for where, access := range map[string][]string{"here": here, "there": there} {
			if where == "there" && command[0] != "status" && command[0] != "replay" {
				continue // they connect in the same way
			}
			if r := harness.Run(t, append(append([]string{}, command...), access...)...); r.Code != 0 {
				t.Errorf("engine %v, %s: %+v", command, where, r)
			}
		}
	}
	for name, access := range map[string][]string{
		"no CA": {"--server", e.NATSURL}, "no certificate": {"--server", e.NATSURL, "--tls-ca", ca.File},
	} {
		if r := harness.Run(t, append([]string{"status"}, access...)...); r.Code != 1 || !strings.Contains(r.Stderr, "tls") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := harness.Run(t, append([]string{"serve", "--data", dir + "/new", "--nats-listen", "0.0.0.0:0", "--http", "127.0.0.1:0"}, flags...)...); r.Code != 2 ||
		!strings.Contains(r.Stderr, "--nats-listen") || !strings.Contains(r.Stderr, "loopback") {
		t.Errorf("TLS on another address: %+v", r)
	}

	served := func() (expires, reason string) {
		var s struct {
			TLS struct {
				Expires string `json:"expires_at"`
				Reason  string
			}
		}
		r := harness.Run(t, "status", "--json", "--data", e.Data)
		if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil {
			t.Error(r, err)
		}
		return s.TLS.Expires, s.TLS.Reason
	}
	first, _ := served()
	harness.Must(t, os.WriteFile(cert, []byte("broken"), 0o600))
	harness.Must(t, syscall.Kill(e.PID(), syscall.SIGHUP))
	harness.Eventually(t, "a broken certificate is shown", func() bool { _, reason := served(); return strings.Contains(reason, cert) })
	if code, body := e.Ready(); code != 200 || !strings.Contains(body, "tls") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	ca.Issue(cert, key, "two", 2*time.Hour, "127.0.0.1")
	harness.Must(t, syscall.Kill(e.PID(), syscall.SIGHUP))
	harness.Eventually(t, "the new certificate is served", func() bool { now, reason := served(); return now != first && reason == "" })
	c.MustSet(t, "a1", "k", 3, nil)
	if len(closed) > 0 {
		t.Error("a connection was closed")
	}
	harness.PrivateFiles(t, e.Data)
	if log := e.Log(); strings.Contains(log, "PRIVATE KEY") {
		t.Error("the log has a key")
	}
	for _, name := range []string{"engine.json", "operator.json"} {
		if _, err := os.Stat(filepath.Join(e.Data, name)); err != nil {
			t.Error(err)
		}
	}
}
