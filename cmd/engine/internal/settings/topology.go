package settings

import (
	"io"
	"os"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/config"
	"github.com/tidemark-engine/tidemark/infra/natsio/topology"
)

// ReadTopology reads a topology document; "" is the built-in one and "-" is
// standard input.
func ReadTopology(file string) (topology.Topology, error) {
	text, err := config.Topology, error(nil)
	switch file {
	case "":
		file = "the default topology"
	case "-":
		text, err = io.ReadAll(os.Stdin)
	default:
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return topology.Topology{}, err
	}
	t, err := topology.Parse(text)
	if err != nil {
		return t, deployment.Usagef("%s: %w", file, err)
	}
	return t, nil
}

// Document is the document of --topology, which Check has read.
func (c *Config) Document() topology.Topology { return c.document }
