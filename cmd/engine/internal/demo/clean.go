package demo

import (
	"errors"
	"fmt"
	"os"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/cli"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
)

// printPlace says where the data of the demo are.
func (c *Demo) printPlace(out *cli.Output, own bool) {
	switch {
	case !own:
		out.Printf("\nThe demo's agents stay in the engine that it has used.\n")
	case deployment.MadeByDemo(c.Data):
		out.Printf("\nThe data are in %s; %s removes them.\n", c.Data, c.hint(out.Program.Path, "demo", "--clean"))
	default:
		out.Printf("\nThe data are in %s, which existed before: the demo does not remove it.\n", c.Data)
	}
}

// clean removes the data directory that a demo has made.
func (c *Demo) clean(out *cli.Output) error {
	if !deployment.MadeByDemo(c.Data) {
		return fmt.Errorf("%s was not made by the demo, or engine serve has used it since: nothing is removed", c.Data)
	}
	unlock, err := deployment.Lock(c.Data)
	if err != nil {
		return fmt.Errorf("nothing is removed: %w", err)
	}
	// Removed while it is locked: no engine can start in it meanwhile.
	if err := errors.Join(os.RemoveAll(c.Data), unlock()); err != nil {
		return fmt.Errorf("remove the data of the demo: %w", err)
	}
	return out.Result(map[string]string{"removed": c.Data}, func() { out.Printf("Removed %s.\n", c.Data) })
}
