package cli

import (
	"io"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// Program is the program as it was called: "engine", or "tidemark" where it is installed
// under that name. Texts are written for "engine", and show the name of the call.
type Program struct {
	Name string // engine or tidemark
	Path string // as typed: bin/engine

	commands *regexp.Regexp // "engine COMMAND" in a text
}

// NewProgram is the program that was called as path.
func NewProgram(path string) Program {
	p := Program{Name: "engine", Path: path}
	if base := strings.TrimSuffix(filepath.Base(path), ".exe"); base == "tidemark" {
		p.Name = base
	}
	if !strings.ContainsAny(path, `/\`) {
		p.Path = p.Name
	}
	return p
}

// Knows gives the program its subcommands, which its texts name.
func (p *Program) Knows(app *kong.Application) {
	names := []string{"COMMAND", "--help"}
	for _, c := range app.Children {
		names = append(names, c.Name)
	}
	p.commands = regexp.MustCompile(`\b(bin/)?engine (` + strings.Join(names, "|") + `)`)
}

// Text is a text for people with the program's name in its commands.
func (p *Program) Text(text string) string {
	if p.Name == "" || p.Name == "engine" || p.commands == nil {
		return text
	}
	return p.commands.ReplaceAllString(text, p.Name+" $2")
}

// Renaming writes texts with the program's name.
func (p *Program) Renaming(w io.Writer) io.Writer { return renaming{p, w} }

type renaming struct {
	*Program
	w io.Writer
}

func (r renaming) Write(b []byte) (int, error) {
	_, err := io.WriteString(r.w, r.Text(string(b)))
	return len(b), err
}
