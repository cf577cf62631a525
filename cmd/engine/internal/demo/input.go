package demo

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/tidemark-engine/tidemark/domain"
)

// runKeys are the fields of a recorded step that become state, in the order in
// which an agent writes them.
var runKeys = []string{"environment", "thought", "action", "observation", "state", "exit"}

// agentRun is one recorded run: an agent and its steps.
type agentRun struct {
	source string
	agent  string // its id
	steps  []runStep
}

// runStep is one line of the file.
type runStep struct {
	line, step int
	fields     []runField
}

// runField is one value with the bytes of the file.
type runField struct {
	key   string
	value json.RawMessage
}

func loadRuns(file, suffix string) ([]*agentRun, error) {
	in := os.Stdin
	if file == "-" {
		file = "standard input"
	} else {
		var err error
		if in, err = os.Open(file); err != nil {
			return nil, err
		}
		defer in.Close()
	}
	runs, err := readRuns(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return runs, nameAgents(runs, suffix)
}

// readRuns reads one step a line. Runs come in the order of their first lines.
func readRuns(in io.Reader) ([]*agentRun, error) {
	var runs []*agentRun
	bySource := map[string]*agentRun{}
	lines := bufio.NewReader(in)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		if len(bytes.TrimSpace(line)) > 0 {
			source, step, bad := readStep(line)
			if bad != nil {
				return nil, fmt.Errorf("line %d: %w", n, bad)
			}
			step.line = n
			run := bySource[source]
			if run == nil {
				run = &agentRun{source: source}
				bySource[source] = run
				runs = append(runs, run)
			}
			run.steps = append(run.steps, step)
		}
		if err == io.EOF {
			break
		}
	}
	if len(runs) == 0 {
		return nil, errors.New("it has no step")
	}
	return runs, nil
}

func readStep(line []byte) (source string, s runStep, err error) {
	var fields map[string]json.RawMessage
	if err = json.Unmarshal(line, &fields); err != nil {
		return "", s, err
	}
	if json.Unmarshal(fields["source"], &source) != nil || source == "" {
		return "", s, errors.New(`"source" is missing or not a text`)
	}
	if json.Unmarshal(fields["step"], &s.step) != nil {
		return "", s, errors.New(`"step" is missing or not a whole number`)
	}
	for _, key := range runKeys {
		if value, ok := fields[key]; ok {
			s.fields = append(s.fields, runField{key, value})
		}
	}
	if len(s.fields) == 0 {
		return "", s, fmt.Errorf("it has none of %s", strings.Join(runKeys, ", "))
	}
	return source, s, nil
}

// nameAgents gives each run an id: the last element of its source's path and,
// where several runs have the same one, the part of the folder that differs.
func nameAgents(runs []*agentRun, suffix string) error {
	alike := map[string][]*agentRun{}
	for _, r := range runs {
		alike[tail(r.source)] = append(alike[tail(r.source)], r)
	}
	room := domain.MaxID
	if suffix != "" {
		suffix = "-" + suffix
		room -= len(suffix)
	}
	taken := map[string]bool{}
	for _, r := range runs {
		name := tail(r.source)
		if same := alike[name]; len(same) > 1 {
			name += "-" + path.Dir(r.source)[shared(same):]
		}
		name = idOf(name)
		if hash := "-" + shortHash(r.source); len(name) > room || taken[name] || name == domain.ReservedAgent {
			name = name[:max(0, min(len(name), room-len(hash)))] + hash
		}
		taken[name] = true
		r.agent = name + suffix
		if err := domain.CheckAgentID(r.agent); err != nil {
			return fmt.Errorf("agent id for %q: %w", r.source, err)
		}
	}
	return nil
}

func tail(source string) string {
	base := path.Base(source)
	return strings.TrimSuffix(base, path.Ext(base))
}

// shared is the length of the common beginning of all folders.
func shared(runs []*agentRun) int {
	first := path.Dir(runs[0].source)
	n := len(first)
	for _, r := range runs[1:] {
		dir := path.Dir(r.source)
		n = min(n, len(dir))
		for n > 0 && dir[:n] != first[:n] {
			n--
		}
	}
	return n
}

// idOf replaces every character that an id cannot have by a dash.
func idOf(name string) string {
	return strings.Map(func(c rune) rune {
		if domain.CheckID("", string(c)) != nil {
			return '-'
		}
		return c
	}, name)
}

func shortHash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:4])
}

// chooseAgent is the agent whose history is printed.
func chooseAgent(runs []*agentRun, asked string) (string, error) {
	longest := runs[0]
	for _, r := range runs {
		if r.agent == asked {
			return asked, nil
		}
		if len(r.steps) > len(longest.steps) {
			longest = r
		}
	}
	if asked == "" {
		return longest.agent, nil
	}
	names := make([]string, len(runs))
	for i, r := range runs {
		names[i] = r.agent
	}
	return "", fmt.Errorf("--agent %s is not an agent of the file:\n  %s", asked, strings.Join(names, "\n  "))
}
