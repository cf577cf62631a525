package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/natsiotest"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestSecretsStayHidden: a secret in any option is in no output, in no answer, in no
// file that others read, in no process table, when the engine starts and when it
// refuses to.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	const secret = "hunter2SECRET"
	ns := natsiotest.Run(t, &server.Options{Users: []*server.User{{Username: "app", Password: secret}}})
	host := strings.TrimPrefix(ns.ClientURL(), "nats://")
	external := fmt.Sprintf("nats://app:%s@%s,nats://app:%s@%s", secret, host, secret, host)
	sql, err := url.Parse(support.Postgres(t)) // the administrator's, with another password
	harness.Must(t, err)
	own, _ := sql.User.Password()
	keywords := fmt.Sprintf("host=127.0.0.1 port=%s dbname=%s user=%s password='%s' sslmode=disable", sql.Port(), sql.Path[1:], sql.User.Username(), own)
	hidden := []string{secret, own}
	search := func(where, text string) {
		t.Helper()
		for _, s := range hidden {
			if i := strings.Index(text, s); i >= 0 {
				t.Errorf("%s shows a secret: …%s…", where, text[max(0, i-60):min(len(text), i+20)])
			}
		}
	}

	e := harness.Start(t, harness.Config{Args: []string{"--nats", external, "--postgres", keywords, "--log", "debug"}})
	nc, err := nats.Connect(ns.ClientURL(), nats.UserInfo("app", secret))
	harness.Must(t, err)
	defer nc.Close()
	for _, subject := range []string{"queries.engine.status", "$SRV.INFO.tidemark", "$SRV.STATS.tidemark", "commands.agent.a1.set", "queries.agents.list"} {
		answer, err := nc.Request(subject, []byte(`{}`), harness.Patience)
		harness.Must(t, err)
		search(subject, string(answer.Data)+fmt.Sprint(answer.Header))
	}
	_, ready := e.Ready()
	search("/readyz", ready)
	search("/metrics", e.Metrics(t.Context()))
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"topology", "plan"}} {
		r := harness.Run(t, append(args, "--data", e.Data)...)
		search(fmt.Sprint(args), r.Stdout+r.Stderr)
		if r.Code != 0 {
			t.Errorf("engine %v: %+v", args, r)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	harness.Must(t, err)
	for _, p := range processes {
		text, err := os.ReadFile(p)
		if err == nil && strings.HasPrefix(p, fmt.Sprintf("/proc/%d/", e.PID())) {
			search(p, string(text))
		}
	}
	note, err := os.ReadFile(filepath.Join(e.Data, "engine.json"))
	harness.Must(t, err)
	search("engine.json", string(note))
	var parsed map[string]any
	harness.Must(t, json.Unmarshal(note, &parsed))
	harness.PrivateFiles(t, e.Data)
	search("the log and the banner", e.Log())

	// Refused starts.
	file := filepath.Join(harness.TempDir(t), "secret")
	harness.Must(t, os.WriteFile(file, []byte(secret), 0o600))
	serve := []string{"serve", "--data", filepath.Join(harness.TempDir(t), "data"), "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"}
	for _, more := range [][]string{
		{"--postgres", "off", "--nats", "nats://" + secret + "@" + host},
		{"--postgres", "off", "--nats", "nats://x:" + secret + "@127.0.0.1:1"},
		{"--postgres", "off", "--nats", "nats://x:" + secret + "@127.0.0.1:99999"},
		{"--postgres", "postgres://u:" + secret + "@[/db"},
		{"--postgres", "host=a port=x password=" + secret},
		{"--postgres", "off", "postgres://u:" + secret + "@h/db"},
		{"--postgres", "off", "--colour=nats://" + secret + "@h"},
		{"--postgres", "off", "--nats-creds", file, "--nats", ns.ClientURL()},
		{"--postgres", "off", "--tls-cert", file, "--tls-key", file},
		{"--postgres", "off", "--topology", file},
		{"--config", file},
	} {
		r := harness.Run(t, append(append([]string{}, serve...), more...)...)
		if search(fmt.Sprint(more[len(more)-2]), r.Stdout+r.Stderr); r.Code == 0 || r.Stderr == "" {
			t.Errorf("%v: %+v", more, r)
		}
	}
}
