// Package release tests what a release ships besides the program: the container image's
// settings, the Debian package's files, the workflows. `make release-check` builds and
// installs them.
package release

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const root = "../../"

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	harness.Must(t, err)
	return string(text)
}

// The health check of the image succeeds while the engine works, over TLS too, and fails
// without it.
func TestHealthCheckOfTheImage(t *testing.T) {
	dockerfile := read(t, "Dockerfile")
	var check []string
	found := regexp.MustCompile(`HEALTHCHECK [^\[]*CMD (\[.*\])`).FindStringSubmatch(dockerfile)
	if found == nil {
		t.Fatal("the Dockerfile has no health check of arguments")
	}
	harness.Must(t, json.Unmarshal([]byte(found[1]), &check))
	if !strings.Contains(dockerfile, `ENTRYPOINT ["`+check[0]+`"]`) {
		t.Errorf("the health check runs %s", check[0])
	}
	ca, dir := harness.NewCA(t), t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	ca.Issue(cert, key, "server", harness.Patience*100, "engine.test")
	for name, args := range map[string][]string{"plain": nil, "TLS": {"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca.File}} {
		t.Run(name, func(t *testing.T) {
			e := harness.New(t, harness.Config{Args: append(args, "--postgres", "off")})
			healthy := func() error {
				cmd := exec.Command(harness.Binary(t), check[1:]...)
				cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TIDEMARK_") }), "TIDEMARK_DATA="+e.Data)
				return cmd.Run()
			}
			if healthy() == nil {
				t.Error("healthy before the start")
			}
			e.Launch()
			harness.Eventually(t, "the health check succeeds", healthy)
			e.Stop()
			if healthy() == nil {
				t.Error("healthy after the stop")
			}
		})
	}
}

// The files that the configuration of goreleaser names exist, and the unit starts what the
// package installs.
func TestPackageFiles(t *testing.T) {
	var release struct {
		Builds []struct{ Binary string }
		NFPMs  []struct {
			Contents []struct{ Src, Dst, Type string }
			Scripts  map[string]string
			Deb      struct{ Scripts map[string]string }
		}
	}
	harness.Must(t, yaml.Unmarshal([]byte(read(t, ".goreleaser.yaml")), &release))
	deb := release.NFPMs[0]
	installed := map[string]string{"/usr/bin/" + release.Builds[0].Binary: ""}
	for _, c := range deb.Contents {
		installed[c.Dst] = c.Src
		if c.Type != "tree" { // made by scripts/package-files.sh
			read(t, c.Src)
		}
		if c.Type == "config|noreplace" != strings.HasPrefix(c.Dst, "/etc/") {
			t.Errorf("%s: files in /etc are the administrator's", c.Dst)
		}
	}
	for _, script := range deb.Scripts {
		if out, err := exec.Command("sh", "-n", root+script).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", script, out)
		}
	}
	if !strings.Contains(read(t, deb.Deb.Scripts["templates"]), "Default: false") {
		t.Error("a purge removes the data without a question")
	}
	unit := read(t, "deploy/systemd/tidemark.service")
	start := regexp.MustCompile(`(?m)^ExecStart=(\S+) serve --config (\S+)$`).FindStringSubmatch(unit)
	if start == nil {
		t.Fatal("the unit starts something else")
	}
	for _, file := range start[1:] {
		if _, ok := installed[file]; !ok {
			t.Errorf("the unit names %s, which is not installed", file)
		}
	}
	settings := regexp.MustCompile(`(?m)^# (\w+: )`).ReplaceAllString(read(t, installed[start[2]]), "$1") // those that are commented out too
	file := filepath.Join(t.TempDir(), "engine.yaml")
	harness.Must(t, os.WriteFile(file, []byte(settings), 0o600))
	cmd := exec.Command(harness.Binary(t), "serve", "--config", file, "--data", t.TempDir(), "--log", "no level")
	out, _ := cmd.CombinedOutput()
	if !strings.Contains(string(out), "--log") || strings.Contains(string(out), "unknown keys") {
		t.Errorf("the settings are not read: %s", out)
	}
}

// A workflow runs what a developer can run.
func TestWorkflows(t *testing.T) {
	makefile := read(t, "Makefile")
	files, err := filepath.Glob(root + ".github/workflows/*.yml")
	harness.Must(t, err)
	ran := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		harness.Must(t, err)
		var workflow struct {
			Jobs map[string]struct {
				Strategy struct{ Matrix map[string][]string }
				Steps    []struct{ Run string }
			}
		}
		harness.Must(t, yaml.Unmarshal(text, &workflow))
		for name, job := range workflow.Jobs {
			for _, step := range job.Steps {
				targets := []string{}
				if found := regexp.MustCompile(`make (\S+)$`).FindStringSubmatch(step.Run); found != nil {
					targets = found[1:]
				} else if strings.Contains(step.Run, "make ${{ matrix.target }}") {
					targets = job.Strategy.Matrix["target"]
				}
				for _, target := range targets {
					if ran++; !regexp.MustCompile(`(?m)^` + target + `:.*## `).MatchString(makefile) {
						t.Errorf("%s, job %s: make has no target %s", filepath.Base(file), name, target)
					}
				}
			}
		}
	}
	if ran < 8 {
		t.Errorf("only %d targets are found", ran)
	}
}

// go install refuses a module that replaces others.
func TestGoInstall(t *testing.T) {
	if regexp.MustCompile(`(?m)^\s*(replace|exclude)\b`).MatchString(read(t, "go.mod")) {
		t.Error("go.mod replaces or excludes modules: go install …@latest refuses it")
	}
}

// TestComposeServer: the NATS servers of docker-compose.yml have the version that the tests
// run: older ones have faults that were mended since.
func TestComposeServer(t *testing.T) {
	modules, err := os.ReadFile("../../go.mod")
	harness.Must(t, err)
	compose, err := os.ReadFile("../../docker-compose.yml")
	harness.Must(t, err)
	version := regexp.MustCompile(`nats-server/v2 v(\S+)`).FindSubmatch(modules)
	if version == nil || !strings.Contains(string(compose), "image: nats:"+string(version[1])+"-alpine\n") {
		t.Errorf("docker-compose.yml does not run nats-server %s", version)
	}
}
