package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// read is the text of a file of the repository.
func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(root + file)
	harness.Must(t, err)
	return string(text)
}

// block is the first fenced block of a page in a language.
func block(t *testing.T, page, language string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindStringSubmatch(read(t, page))
	if found == nil {
		t.Fatalf("%s has no block of %s", page, language)
	}
	return found[1]
}

// The page's settings and config/nats make a cluster: three replicas, the partitions, and streams
// as the topology wants them, also where it wants servers with tags.
func TestCluster(t *testing.T) {
	dir, ports := harness.TempDir(t), harness.FreePorts(t, 9)
	var urls, routes []string
	for i := range 3 {
		urls, routes = append(urls, fmt.Sprint("nats://127.0.0.1:", ports[i])), append(routes, fmt.Sprint("nats://127.0.0.1:", ports[3+i]))
	}
	for i := range 3 {
		name := fmt.Sprint("nats-", i+1)
		file := filepath.Join(dir, name+".conf")
		harness.Must(t, os.WriteFile(file, []byte(strings.NewReplacer("$NATS_NAME", name, "$NATS_STORE", `"`+filepath.Join(dir, name)+`"`,
			"$NATS_ROUTES", "["+strings.Join(routes, ", ")+"]", "0.0.0.0:6222", fmt.Sprint("127.0.0.1:", ports[3+i]),
			"\nport: 4222", fmt.Sprintf("\nlisten: \"127.0.0.1:%d\"", ports[i]), "\nhttp_port: 8222", fmt.Sprintf("\nhttp: \"127.0.0.1:%d\"", ports[6+i])).
			Replace(read(t, "config/nats/cluster.conf"))), 0o600))
		harness.StartNATSServer(t, name, file)
	}
	settings := block(t, "docs/howto/cluster.md", "yaml")
	file := filepath.Join(dir, "engine.yaml")
	harness.Must(t, os.WriteFile(file, []byte(settings), 0o600))
	if r := harness.Run(t, "serve", "--config", file, "--data", dir, "--log", "no level"); !strings.Contains(r.Stderr, "--log") {
		t.Errorf("the settings are not read: %s", r.Stderr)
	}
	// Without what this machine lacks: credentials, TLS and a database.
	settings = regexp.MustCompile(`(?m)^(nats_creds|nats_tls_ca|postgres): .*\n`).ReplaceAllString(settings, "")
	settings = regexp.MustCompile(`(?m)^nats: .*`).ReplaceAllString(settings, "nats: "+strings.Join(urls, ","))
	harness.Must(t, os.WriteFile(file, []byte(settings), 0o600))
	e := harness.Start(t, harness.Config{Args: []string{"--config", file, "--postgres", "off"}})
	var status struct {
		Durability string
		Journal    struct{ Partitions, Replicas int }
		Topology   struct{ Things, Drift int }
	}
	harness.Must(t, json.Unmarshal([]byte(e.Run("status", "--json").Stdout), &status))
	if status.Durability != "replicated" || status.Journal.Partitions != 4 || status.Journal.Replicas != 3 || status.Topology.Things == 0 || status.Topology.Drift > 0 {
		t.Errorf("the cluster is %+v", status)
	}
}

// What the page about deployment installs is in the archive and where the unit looks for it, and
// each flag of the programs there exists.
func TestDeploy(t *testing.T) {
	page, unit, release := read(t, "docs/howto/deploy.md"), read(t, "deploy/systemd/tidemark.service"), read(t, ".goreleaser.yaml")
	installed := regexp.MustCompile(`(?m)^sudo install .*?(\S+) (/\S+)$`).FindAllStringSubmatch(page, -1)
	if len(installed) != 4 {
		t.Errorf("the page installs %q", installed)
	}
	for _, file := range installed {
		if name := file[1]; name != "tidemark" { // the program
			read(t, name)
			if !strings.Contains(release, "src: "+filepath.Dir(name)+"/*,") {
				t.Errorf("the archive has no %s", name)
			}
		}
		if to := file[2]; !strings.Contains(to, "/system") && !strings.Contains(to, "sysusers.d") && !strings.Contains(unit, to) {
			t.Errorf("the unit does not name %s", to)
		}
	}
	for name, template := range map[string]string{"tidemark_0.1.0_linux_amd64.tar.gz": "{{ .ProjectName }}_{{ .Version }}_{{ .Os }}_{{ .Arch }}", "tidemark_0.1.0_amd64.deb": "{{ .ConventionalFileName }}"} {
		if !strings.Contains(page, name) || !strings.Contains(release, template) {
			t.Errorf("the release makes %s, the page has not %s", template, name)
		}
	}
	for _, name := range regexp.MustCompile(`deploy/kubernetes/[a-z.]+\.yaml`).FindAllString(page, -1) {
		if name != "deploy/kubernetes/secret.yaml" { // made by hand
			read(t, name)
		}
	}
	if r := harness.Run(t, "status", "--help"); !strings.Contains(r.Stdout, "--alive") {
		t.Error("status has no --alive")
	}
}

// The program of the page about the SDK compiles.
func TestGoSDK(t *testing.T) {
	dir := harness.TempDir(t)
	program, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	harness.Must(t, os.WriteFile(program, []byte(`package main

import (
	"context"
	"time"

	"github.com/tidemark-engine/tidemark/client"
)

type Plan struct {
	Goal  string
	Steps int
}

type Message struct{ Role, Text string }

func run(ctx context.Context, m Message) error {
`+block(t, "docs/howto/go.md", "go")+`
	_ = plan
	return err
}

func main() { _ = run(context.Background(), Message{}) }
`), 0o600))
	at, err := filepath.Abs(root + "examples/page/main.go")
	harness.Must(t, err)
	text, err := json.Marshal(map[string]map[string]string{"Replace": {at: program}})
	harness.Must(t, err)
	harness.Must(t, os.WriteFile(overlay, text, 0o600))
	cmd := exec.Command("go", "build", "-overlay", overlay, "-o", os.DevNull, "./examples/page")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
