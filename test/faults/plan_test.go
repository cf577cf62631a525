package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// step is one or several injections, after which the engine must recover.
type step struct {
	name string
	play func(c *campaign)
}

// Failpoints that load and traffic of a running engine do not pass.
var (
	onStart   = []string{"starting"}
	onStop    = []string{"stopping"}
	onRebuild = []string{"swapLocked", "swapMerged", "rebuildSwapped"}
	onTrim    = []string{"trimMarked", "trimPurge"}             // no plan strikes these yet: a trim leaves gaps
	onLease   = []string{"leaseAcquired", "leaseRenew"}         // nor these, of engines on an external server
	onReload  = []string{"viewLoad", "hotLoad", "pgCheckpoint"} // when a view begins again
	apart     = slices.Concat(onStart, onStop, onRebuild, onTrim, onLease)
)

// losing are the faults from outside that take from the engine what the traffic must find again.
func losing(f fault) bool {
	return strings.HasPrefix(f.name, "deletion of") || f.name == "loss of the schema in Postgres"
}

// Repetitions of an action at each failpoint in a long campaign, over all parts.
const (
	quickly = 3 // delays and errors, several failpoints at once
	slowly  = 1 // delays beyond the patience of a client
	kills   = 1
	stops   = 1
	outside = 1
)

// planOf returns the steps of a part. Parts with the same random numbers share out the injections.
func planOf(random *rand.Rand, part int) (plan []step) {
	points := slices.DeleteFunc(slices.Clone(instrumented.names), func(name string) bool { return slices.Contains(apart, name) })
	var single []step
	var delays, quick, slow []injection
	for _, name := range points {
		single = append(single, stopAt(name))
		delays = append(delays, injection{name, "delay"})
		slow = append(slow, injection{name, "long delay"})
		if slices.Contains(instrumented.errors, name) {
			quick = append(quick, injection{name, "error"})
		}
	}
	for range quickly {
		plan = append(plan, groups(random, 5, quick)...)
		plan = append(plan, groups(random, 5, delays)...)
	}
	for range slowly {
		plan = append(plan, groups(random, 8, slow)...)
	}
	for range kills {
		for _, name := range points {
			single = append(single, killAt(name))
		}
		single = append(single, onTheWay("starting", 5, "kill"), onTheWay("stopping", 16, "kill"))
		for _, name := range onRebuild {
			single = append(single, rebuildAt(name, "kill", "1*panic"), rebuildAt(name, "delay", "1*sleep(300)"))
			if slices.Contains(instrumented.errors, name) {
				single = append(single, rebuildAt(name, "error", "1*return"))
			}
		}
	}
	single = append(single, onTheWay("starting", 5, "delay"), onTheWay("stopping", 16, "delay"))
	for range outside {
		for _, f := range faults {
			if !losing(f) {
				single = append(single, step{f.name, func(c *campaign) { f.strike(c.world); c.acted[f.name]++ }})
			}
		}
	}
	plan = append(plan, single...)
	random.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	if !harness.Long() {
		return plan[:6]
	}
	return plan[part*len(plan)/parts : (part+1)*len(plan)/parts]
}

// groups shuffles injections at different failpoints into steps of several at once.
func groups(random *rand.Rand, size int, all []injection) (steps []step) {
	all = slices.Clone(all)
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for group := range slices.Chunk(all, size) {
		name := fmt.Sprint(group[0].action, " at")
		for _, i := range group {
			name += " " + i.point
		}
		steps = append(steps, step{name, func(c *campaign) { c.together(group) }})
	}
	return steps
}
