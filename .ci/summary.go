//go:build ignore

// Summary reads `go test -json`, prints go test's line for each package and
// the output of what failed, and ends with "N passed, N failed". It exits 1 if
// a test failed, was skipped or printed a secret key, or if none ran.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// secret is the seed of an NKey, which no program and no test may print.
var secret = regexp.MustCompile(`\bS[AOUC][A-Z2-7]{56}\b|BEGIN USER NKEY SEED`)

// event is one line of `go doc test2json`.
type event struct {
	Action, Package, Test, Output string
}

type test struct {
	output strings.Builder
	done   bool // has passed or was skipped: its output is not needed
}

// pkg is a package under way. Its first test, named "", stands for what the
// package printed outside of tests.
type pkg struct {
	tests  []*test // in the order in which they started
	byName map[string]*test
	failed bool // one of its tests has
}

func newPkg() *pkg {
	p := &pkg{byName: map[string]*test{}}
	p.test("")
	return p
}

func (p *pkg) test(name string) *test {
	t := p.byName[name]
	if t == nil {
		t = &test{}
		p.tests = append(p.tests, t)
		p.byName[name] = t
	}
	return t
}

func main() {
	var passed, failed int
	var skipped, why []string
	running := map[string]*pkg{}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if line == "" && err != nil {
			break
		}
		var e event
		if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
			fmt.Print(line) // not go test's: make, the compiler
			continue
		}
		if e.Action == "build-output" {
			fmt.Print(e.Output)
			continue
		}
		p := running[e.Package]
		if p == nil {
			p = newPkg()
			running[e.Package] = p
		}
		switch {
		case e.Action == "output":
			p.test(e.Test).output.WriteString(e.Output)
			if secret.MatchString(e.Output) {
				failed++
				fmt.Println("a secret key is in the output of", e.Package, e.Test)
			}
		case e.Test != "":
			switch e.Action {
			case "pass":
				passed++
				p.test(e.Test).done = true
			case "fail":
				failed++
				p.failed = true
			case "skip":
				t := p.test(e.Test)
				t.done = true
				skipped = append(skipped, e.Package+"\n"+t.output.String())
			}
		case e.Action == "pass" || e.Action == "skip":
			fmt.Print(closing(p.tests[0].output.String()))
			delete(running, e.Package)
		case e.Action == "fail":
			if !p.failed { // the build, TestMain, a panic
				failed++
			}
			for _, t := range append(p.tests[1:], p.tests[0]) {
				if !t.done {
					fmt.Print(t.output.String())
					why = append(why, said(t.output.String())...)
				}
			}
			delete(running, e.Package)
		}
	}
	for name := range running { // the input ended early
		if name != "" {
			fmt.Println("unfinished:", name)
			failed++
		}
	}
	for _, s := range skipped {
		fmt.Print("skipped, which fails here: ", s)
	}
	if len(why) > 0 {
		fmt.Println("what the failed tests said, without logs:")
	}
	for _, line := range why {
		fmt.Print(line)
	}
	fmt.Printf("%d passed, %d failed", passed, failed)
	if len(skipped) > 0 {
		fmt.Printf(", %d skipped", len(skipped))
	}
	fmt.Println()
	if failed > 0 || len(skipped) > 0 || passed == 0 {
		os.Exit(1)
	}
}

// location starts what a test says by itself: "    file_test.go:12: …".
var location = regexp.MustCompile(`^ +\w+_test\.go:\d+: `)

// said is what a failed test said, its logs left out, the lines shortened.
func said(output string) []string {
	var lines []string
	for line := range strings.Lines(output) {
		if location.MatchString(line) || strings.HasPrefix(strings.TrimLeft(line, " "), "--- FAIL") || strings.HasPrefix(line, "panic:") {
			lines = append(lines, fmt.Sprintf("%.300s\n", strings.TrimRight(line, "\n")))
		}
	}
	return lines
}

// closing is go test's own line about a package: "ok", or "no test files".
func closing(output string) string {
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "?   \t") || strings.HasSuffix(line, "[no test files]\n") {
			return line
		}
	}
	return ""
}
