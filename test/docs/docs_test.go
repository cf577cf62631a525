// Package docs tests that the documentation is right: its links lead somewhere, and the
// commands of the tutorials do what they say.
package docs

import (
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const root = "../../"

// The commands of the tutorials print what the pages show. Their engines are one engine: the
// pages use different names.
func TestTutorials(t *testing.T) {
	e := harness.Start(t, harness.Config{})
	for _, page := range []string{"conversation-memory", "task-worker", "human-approval", "multi-agent"} {
		t.Run(page, func(t *testing.T) { e.RunPage(t, "docs/tutorial/"+page+".md") })
	}
}

// The first steps print what the page shows, and the engine its banner. The page's program in
// Node is run by test/e2e.
func TestFirstSteps(t *testing.T) {
	e := harness.Start(t, harness.Config{})
	e.RunPage(t, "docs/tutorial/first-steps.md", "make run", "cd examples")
	program := exec.Command("go", "run", "./examples/first-steps/go", e.NATSURL)
	program.Dir = root
	out, err := program.CombinedOutput()
	for _, part := range []string{`"outcome":"accepted"`, `"code":"state.conflict"`, `"code":"key.invalid"`, "watch  go-agent.plan = "} {
		if err != nil || !strings.Contains(string(out), part) {
			t.Errorf("the program in Go: %v, want %s in\n%s", err, part, out)
		}
	}
	text, err := os.ReadFile(root + "docs/tutorial/first-steps.md")
	harness.Must(t, err)
	banner := regexp.MustCompile("(?s)\\$ make run\n(.*?)```").FindStringSubmatch(string(text))
	if banner == nil {
		t.Fatal("the page has no banner")
	}
	words := func(text string) (first []string) {
		for _, line := range regexp.MustCompile(`(?m)^  ([a-zA-Z]+) `).FindAllStringSubmatch(text, -1) {
			first = append(first, line[1])
		}
		return first
	}
	_, printed, _ := strings.Cut(e.Log(), " serves.\n")
	printed, _, _ = strings.Cut(printed, "Try, in another terminal")
	shown, _, _ := strings.Cut(banner[1], "Try, in another terminal")
	if got, want := words(printed), words(shown); !slices.Equal(got, want) {
		t.Errorf("the banner has %q, the page %q", got, want)
	}
}

// Past states are those that the page shows.
func TestTimeTravel(t *testing.T) {
	harness.Start(t, harness.Config{}).RunPage(t, "docs/howto/time-travel.md")
}

// Two agents cannot touch each other after the commands of the page.
func TestSecure(t *testing.T) {
	harness.Start(t, harness.Config{}).RunPage(t, "docs/howto/secure.md")
}

// The certificates of the page let its client in, and no other.
func TestTLS(t *testing.T) {
	harness.New(t, harness.Config{Args: []string{"--postgres", "off"}}).RunPage(t, "docs/howto/tls.md")
}

// The accounts that the page prints are those of a NATS server.
func TestExternalNATS(t *testing.T) {
	harness.New(t, harness.Config{Args: []string{"--postgres", "off"}}).RunPage(t, "docs/howto/external-nats.md")
}

// What the operator's pages say happens, and the commands of the README end well. From the page
// about erasure on values are encrypted.
func TestOperator(t *testing.T) {
	e := harness.Start(t, harness.Config{})
	for _, page := range []string{"mcp", "monitor", "operate", "quarantine", "upgrade", "verify", "erase", "rebuild", "back-up"} {
		t.Run(page, func(t *testing.T) { e.RunPage(t, "docs/howto/"+page+".md") })
	}
	readme, err := os.ReadFile(root + "README.md")
	harness.Must(t, err)
	lines := regexp.MustCompile(`(?m)^bin/(engine (?:send|query|verify|rebuild|diff|archive) [^#\n]*)`).FindAllStringSubmatch(string(readme), -1)
	if len(lines) < 6 {
		t.Errorf("the README has only %d commands", len(lines))
	}
	for _, line := range lines {
		program := exec.Command("sh", "-c", line[1]+` --data "$DATA"`)
		program.Dir = harness.TempDir(t)
		program.Env = append(os.Environ(), "PATH="+filepath.Dir(harness.Binary(t))+":"+os.Getenv("PATH"), "DATA="+e.Data)
		if out, err := program.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line[1], err, out)
		}
	}
}

// The page names every query that takes an instant.
func TestQueriesOfThePast(t *testing.T) {
	page, err := os.ReadFile(root + "docs/howto/time-travel.md")
	harness.Must(t, err)
	files, err := filepath.Glob(root + "docs/reference/schemas/query.*.json")
	harness.Must(t, err)
	for _, file := range files {
		schema, err := os.ReadFile(file)
		harness.Must(t, err)
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "query."), ".json")
		if strings.Contains(string(schema), `"at_revision"`) && !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("time-travel.md does not name %s", name)
		}
	}
}

// pages are the Markdown files of the repository, from its root.
func pages(t *testing.T) (all []string) {
	t.Helper()
	harness.Must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", ".tools", "node_modules", "bin", "dist", "data"}, d.Name()):
			return fs.SkipDir
		case strings.HasSuffix(path, ".md"):
			name, err := filepath.Rel(root, path)
			all = append(all, name)
			return err
		}
		return nil
	}))
	return all
}

var (
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	inline  = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)(?: "[^"]*")?\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *#*$`)
	anchor  = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
	dropped = regexp.MustCompile(`[^\p{L}\p{M}\p{N}\p{Pc}\- ]`)
)

// anchors are the fragments of a page, as GitHub makes them of its headings.
func anchors(text string) []string {
	var all []string
	seen := map[string]int{}
	for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		words := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(h[1], "$1")
		id := strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(words), ""), " ", "-")
		if n := seen[id]; n > 0 {
			all = append(all, id+"-"+strconv.Itoa(n))
		} else {
			all = append(all, id)
		}
		seen[id]++
	}
	for _, a := range anchor.FindAllStringSubmatch(text, -1) {
		all = append(all, a[1])
	}
	return all
}

// Every relative link leads to a file, and its fragment to a heading.
func TestLinks(t *testing.T) {
	text := map[string]string{}
	read := func(page string) string {
		if _, ok := text[page]; !ok {
			content, err := os.ReadFile(root + page)
			harness.Must(t, err)
			text[page] = string(content)
		}
		return text[page]
	}
	links := 0
	for _, page := range pages(t) {
		prose := inline.ReplaceAllString(fenced.ReplaceAllString(read(page), ""), "")
		for _, found := range link.FindAllStringSubmatch(prose, -1) {
			to, err := url.Parse(found[1])
			if err != nil || to.IsAbs() || to.Host != "" {
				continue
			}
			links++
			target := page
			if to.Path != "" {
				target = filepath.Join(filepath.Dir(page), to.Path)
			}
			if strings.HasPrefix(target, "..") { // GitHub's own pages
				continue
			}
			if _, err := os.Stat(root + target); err != nil {
				t.Errorf("%s: %s leads nowhere", page, found[1])
			} else if to.Fragment != "" && strings.HasSuffix(target, ".md") && !slices.Contains(anchors(read(target)), to.Fragment) {
				t.Errorf("%s: %s has no heading #%s", page, target, to.Fragment)
			}
		}
	}
	if links < 100 {
		t.Errorf("only %d links are found", links)
	}
}

// Every page below docs is in the table of docs/README.md, or its directory is.
func TestContents(t *testing.T) {
	contents, err := os.ReadFile(root + "docs/README.md")
	harness.Must(t, err)
	for _, page := range pages(t) {
		name, below := strings.CutPrefix(page, "docs/")
		if !below || name == "README.md" {
			continue
		}
		if !strings.Contains(string(contents), "("+name+")") && !strings.Contains(string(contents), "("+filepath.Dir(name)+")") {
			t.Errorf("docs/README.md does not name %s", name)
		}
	}
}
