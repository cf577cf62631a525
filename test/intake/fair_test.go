package intake_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/commands"
	"github.com/tidemark-engine/tidemark/commands/reactors"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestClientsDoNotWaitForOne: the command of a client does not wait behind the thousands of
// another one in the same lane, and these keep their order.
func TestClientsDoNotWaitForOne(t *testing.T) {
	r := newRig(t, 1)
	var mu sync.Mutex
	var executed []string
	e := r.start(func(reactors.Send) reactors.Send {
		return func(_ context.Context, req commands.Request) (commands.Receipt, error) {
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			executed = append(executed, req.CommandID)
			return commands.Receipt{}, nil
		}
	})
	defer e.close()
	lane := func(id string) uint32 {
		h := fnv.New32a()
		_, _ = h.Write([]byte("agent" + id))
		return h.Sum32() % 32
	}
	quiet := ""
	for n := 0; quiet == ""; n++ {
		if id := fmt.Sprint("quiet", n); lane(id) == lane("greedy") {
			quiet = id
		}
	}
	const many = 2000
	enqueue := func(c *nats.Conn, agent, id string) {
		harness.Must(t, c.PublishMsg(&nats.Msg{Subject: "enqueue.agent." + agent + ".touch", Header: nats.Header{nats.MsgIdHdr: {id}}, Data: []byte("{}")}))
	}
	greedy := support.Client(t, r.server)
	var sent []string
	for n := range many {
		sent = append(sent, fmt.Sprintf("greedy-%04d", n))
		enqueue(greedy, "greedy", sent[n])
	}
	harness.Must(t, greedy.Flush())
	harness.Eventually(t, "the commands are stored", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return r.count("COMMANDS")+uint64(len(executed)) >= many
	})
	other := support.Client(t, r.server)
	mu.Lock()
	before := len(executed)
	mu.Unlock()
	enqueue(other, quiet, "quiet")
	r.drained()
	mu.Lock()
	defer mu.Unlock()
	if waited := slices.Index(executed, "quiet") - before; waited < 0 || waited > 500 {
		t.Errorf("the command of another client waited for %d of %d", waited, many-before)
	}
	own := slices.DeleteFunc(slices.Clone(executed), func(id string) bool { return !strings.HasPrefix(id, "greedy") })
	if !slices.Equal(own, sent) {
		t.Errorf("%d commands of one aggregate were not executed in their order", len(own))
	}
}
