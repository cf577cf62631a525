//go:build !race

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// These tests build an engine of their own. With the race detector they would take as long as
// all others together; make test and make faults run them.

// TestPlantedBugs: the checkers of the fault tests say nothing of a right engine, and catch each of
// the bugs in bugs.
func TestPlantedBugs(t *testing.T) {
	t.Parallel()
	x := startExternal(t)
	chosen := bugs
	if !harness.Long() {
		chosen = []bug{bugs[0], bugs[6]}
	}
	n := 0
	database := func(t *testing.T) string {
		n++
		conn, err := pgx.Connect(t.Context(), x.SuperuserURL())
		harness.Must(t, err)
		defer conn.Close(context.Background())
		name := fmt.Sprint("bug", n)
		_, err = conn.Exec(t.Context(), "CREATE DATABASE "+name+" OWNER "+owner(t, x.URL()))
		harness.Must(t, err)
		return inDatabase(t, x.URL(), name)
	}
	clean := map[*scene]bool{}
	for _, b := range chosen {
		if !clean[b.scene] {
			clean[b.scene] = true
			t.Run("without a bug/"+b.scene.name, func(t *testing.T) {
				for _, said := range perform(t, b.scene, "", database(t)) {
					t.Error(said)
				}
			})
		}
	}
	caught := 0
	for _, b := range chosen {
		t.Run(b.name, func(t *testing.T) {
			said := perform(t, b.scene, b.terms, database(t))
			n := slices.IndexFunc(said, regexp.MustCompile(b.sign).MatchString)
			if n < 0 {
				t.Fatalf("no checker noticed it, they said:\n%.3000s", strings.Join(said, "\n"))
			}
			caught++
			t.Logf("caught: %.300s", said[n])
		})
	}
	t.Logf("%d of %d planted bugs caught", caught, len(chosen))
}

// TestFailpoints strikes an engine at its failpoints, alone and several at once, with errors, delays,
// kills and stops, and with faults from outside between them. After each the engine must be ready
// again without help. At the end of each part the journal must explain what every client saw.
func TestFailpoints(t *testing.T) {
	t.Parallel()
	seed := seedOf(t, 1)
	failEngine(t)
	sum := newTally()
	for n := range harness.Rounds(1, parts) {
		t.Run(fmt.Sprint("part ", n), func(t *testing.T) {
			plan := planOf(rand.New(rand.NewPCG(seed, seed)), n)
			strike(t, rand.New(rand.NewPCG(seed, uint64(n))), plan, sum)
		})
	}
	sum.report(t)
	if n := len(sum.times); harness.Long() && n > 0 && sum.times[n*99/100] > 10*time.Second {
		t.Errorf("recovery took %s at p99, more than 10 s", sum.times[n*99/100])
	}
}
