package settings

import (
	"testing"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/resources"
)

// TestMemoryPlanned: what the flag names is planned with and is the bound. Without it the bound
// leaves room for an index that the plan does not have.
func TestMemoryPlanned(t *testing.T) {
	c := Config{Memory: "1GiB"}
	if planned, bound, err := c.MemoryPlan(); err != nil || planned != 1<<30 || bound != planned {
		t.Errorf("%d, %d, %v", planned, bound, err)
	}
	c.Memory = "0"
	machine := resources.MachineMemory()
	if planned, bound, err := c.MemoryPlan(); err != nil || planned > 2<<30 || bound < machine/2 || bound < planned {
		t.Errorf("of %d: %d, %d, %v", machine, planned, bound, err)
	}
}
