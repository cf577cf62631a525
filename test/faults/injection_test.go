package faults

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// injection is what happens once at a failpoint.
type injection struct{ point, action string }

func (i injection) String() string { return i.action + " at " + i.point }

// terms are gofail's.
func (i injection) terms(c *campaign) string {
	switch i.action {
	case "error":
		return fmt.Sprintf("%d*return", 1+c.random.IntN(3))
	case "delay":
		return fmt.Sprintf("1*sleep(%d)", 20+c.random.IntN(300))
	default: // longer than a client waits for an answer, and than an engine takes to start
		return fmt.Sprintf("1*sleep(%d)", 1000+c.random.IntN(2000))
	}
}

// passWithin is how long a failpoint waits to be passed.
const passWithin = 5 * time.Second

// In a step that puts several failpoints in force, each acts up to repeats times within window.
const (
	repeats = 10
	window  = 3 * time.Second
)

// together puts several failpoints in force at once, each again when it has acted.
func (c *campaign) together(group []injection) {
	left := map[injection]int{}
	for _, i := range group {
		left[i] = repeats
		if i.action == "long delay" {
			left[i] = 1
		}
		c.set(i.point, i.terms(c))
	}
	has := func(points ...string) bool {
		return slices.ContainsFunc(group, func(i injection) bool { return slices.Contains(points, i.point) })
	}
	reloads := has(onReload...) && !has("viewApplied")
	acted := map[injection]bool{}
	for began := time.Now(); len(left) > 0 && time.Since(began) < window; {
		if reloads {
			c.set("viewApplied", "1*return") // a view begins again
		}
		for i := range left {
			if c.count(i.point) == 0 {
				continue
			}
			c.note(i, true)
			acted[i] = true
			if left[i]--; left[i] == 0 {
				delete(left, i)
				continue
			}
			c.set(i.point, i.terms(c))
		}
		pause(c.world.t.Context(), 10*time.Millisecond)
	}
	for _, i := range group {
		if c.off(i.point); !acted[i] {
			c.note(i, false)
		}
	}
	_, _ = c.request(http.MethodDelete, "viewApplied", "") // refused where it is off
}

func (c *campaign) note(i injection, acted bool) {
	if acted {
		c.acted[i.String()]++
	} else {
		c.silent[i.String()]++
	}
}

// hold lets the next goroutine that passes a failpoint stand still there, for some milliseconds.
// It reports whether one did.
func (c *campaign) hold(point string, ms int) bool {
	if slices.Contains(onReload, point) {
		c.set("viewApplied", "12*return")
	}
	c.set(point, fmt.Sprintf("1*sleep(%d)", ms))
	for began := time.Now(); time.Since(began) < passWithin; {
		if c.count(point) > 0 {
			return true
		}
		pause(c.world.t.Context(), time.Millisecond)
	}
	c.off(point)
	return false
}

// forEver is longer than any test waits, in milliseconds.
const forEver = 600_000

// killAt kills the engine while it stands at a failpoint.
func killAt(point string) step {
	i := injection{point, "kill"}
	return step{i.String(), func(c *campaign) {
		acted := c.hold(point, forEver)
		c.note(i, acted)
		c.Kill()
		c.Restart()
	}}
}

// stopAt stops the engine while it stands at a failpoint.
func stopAt(point string) step {
	i := injection{point, "stop"}
	return step{i.String(), func(c *campaign) {
		c.note(i, c.hold(point, 500+c.random.IntN(1500)))
		c.Stop()
		c.Restart()
	}}
}

// delay of one step of a start or a stop.
const delay = time.Second

// onTheWay kills or delays an engine at one of the steps of its start or its stop.
func onTheWay(point string, steps int, action string) step {
	i := injection{point, action}
	return step{i.String(), func(c *campaign) {
		skip, ms := c.random.IntN(steps), forEver
		if action == "delay" {
			ms = int(delay.Milliseconds())
		}
		terms := fmt.Sprintf("%d*off->1*sleep(%d)", skip, ms)
		if skip == 0 {
			terms = fmt.Sprintf("1*sleep(%d)", ms)
		}
		if point == "starting" {
			c.Kill()
			c.SetEnv(c.env(point + "=" + terms)...)
			c.Launch()
			c.SetEnv(c.env()...)
		} else {
			c.set(point, terms)
			if action == "delay" { // a second signal would end the engine at once
				began := time.Now()
				c.Stop()
				c.note(i, time.Since(began) >= delay)
				c.Restart()
				return
			}
			c.signal(c.PID(), syscall.SIGTERM)
		}
		harness.Eventually(c.world.t, i.String(), func() error {
			text, err := c.request(http.MethodGet, point+"/count", "")
			if n, _ := strconv.Atoi(text); n <= skip {
				return errors.Join(err, fmt.Errorf("%s of %d steps", text, skip))
			}
			return nil
		})
		c.note(i, true)
		if action == "delay" {
			c.Await()
			return
		}
		c.Kill()
		c.Restart()
	}}
}

// rebuildAt folds SQL again with a failpoint in the process of the rebuild.
func rebuildAt(point, action, terms string) step {
	i := injection{point, action}
	return step{i.String(), func(c *campaign) {
		r := c.RunWith([]string{"GOFAIL_FAILPOINTS=" + point + "=" + terms}, "rebuild", "durable", "--postgres", c.sql.URL())
		if ok := r.Code == 0; ok != (action == "delay") {
			c.world.t.Errorf("a rebuild with %s ended with %d: %s%s", i, r.Code, r.Stdout, r.Stderr)
		}
		c.note(i, true)
	}}
}
