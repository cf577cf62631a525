package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/settings"
	"github.com/tidemark-engine/tidemark/test/harness"
)

// TestSearchFlag: --search stands alone or has a value, from arguments, the environment
// and the file.
func TestSearchFlag(t *testing.T) {
	file := filepath.Join(t.TempDir(), "engine.yaml")
	for name, c := range map[string]struct {
		args      []string
		env, yaml string
		want      string // prefixes; "all", "off"
	}{
		"nothing":                    {want: "off"},
		"alone":                      {args: []string{"--search"}, want: "all"},
		"alone, before another flag": {args: []string{"--search", "--audit-rate", "1"}, want: "all"},
		"with prefixes":              {args: []string{"--search", "order.,note"}, want: "order. note"},
		"with a value":               {args: []string{"--search=off"}, env: "on", want: "off"},
		"environment":                {env: "order.", want: "order."},
		"file":                       {yaml: "search: [order., note]", want: "order. note"},
		"file, on":                   {yaml: "search: true", want: "all"},
		"environment before file":    {env: "off", yaml: "search: true", want: "off"},
	} {
		t.Run(name, func(t *testing.T) {
			harness.Must(t, os.WriteFile(file, []byte(c.yaml), 0o600))
			if c.env != "" {
				t.Setenv("TIDEMARK_SEARCH", c.env)
			}
			var in struct {
				Config string
				Serve  struct{ settings.Config } `cmd:""`
			}
			args := append([]string{"--config", file, "serve"}, c.args...)
			p, err := kong.New(&in, cli.ConfigFile(args))
			harness.Must(t, err)
			if _, err := p.Parse(args); err != nil {
				t.Fatal(err)
			}
			got := "off"
			if s := in.Serve.Search.Of(); s != nil {
				if got = strings.Join(s.Prefixes, " "); got == "" {
					got = "all"
				}
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
