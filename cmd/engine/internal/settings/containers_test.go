package settings

import (
	"os"
	"regexp"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// The settings of the container image and of the compose file are ones that an engine
// starts with.
func TestTheContainersConfigurationIsValid(t *testing.T) {
	const root = "../../../../"
	image := map[string]string{}
	text, err := os.ReadFile(root + "Dockerfile")
	harness.Must(t, err)
	for _, setting := range regexp.MustCompile(`\b(TIDEMARK_\w+)=(\S+)`).FindAllStringSubmatch(string(text), -1) {
		image[setting[1]] = setting[2]
	}
	text, err = os.ReadFile(root + "docker-compose.yml")
	harness.Must(t, err)
	var compose struct {
		Services map[string]struct{ Environment map[string]string }
	}
	harness.Must(t, yaml.Unmarshal(text, &compose))
	engine := compose.Services["engine"].Environment
	if image["TIDEMARK_HTTP"] == "" || engine["TIDEMARK_NATS"] == "" {
		t.Fatalf("the settings are not found: %v, %v", image, engine)
	}
	for name, more := range map[string]map[string]string{"image": nil, "compose": engine} {
		t.Run(name, func(t *testing.T) {
			for _, env := range []map[string]string{image, more} {
				for key, value := range env {
					t.Setenv(key, value)
				}
			}
			var c Config
			parser, err := kong.New(&c)
			harness.Must(t, err)
			if _, err = parser.Parse(nil); err == nil {
				err = c.Validate()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}
