package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Completion prints a script that completes commands, flags and their values in a shell.
type Completion struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run implements the command.
func (c *Completion) Run(k *kong.Context, out *Output) error {
	script := bashCompletion
	switch c.Shell {
	case "zsh":
		script = zshCompletion
	case "fish":
		script = fishCompletion
	}
	_, err := fmt.Fprint(out, script(out.Program.Name, k.Model))
	return err
}

// completed is a command as a completion sees it.
type completed struct {
	path  string // "view add"; empty = the program
	help  string
	words []string // subcommands
	flags []*kong.Flag
}

// commandsOf lists the commands of the program, with itself first.
func commandsOf(app *kong.Application) (all []completed) {
	var visit func(n *kong.Node, path string)
	visit = func(n *kong.Node, path string) {
		c := completed{path: path, help: n.Help}
		for _, group := range n.AllFlags(true) {
			c.flags = append(c.flags, group...)
		}
		for _, child := range n.Children {
			if !child.Hidden {
				c.words = append(c.words, child.Name)
			}
		}
		all = append(all, c)
		for _, child := range n.Children {
			if !child.Hidden {
				visit(child, strings.TrimSpace(path+" "+child.Name))
			}
		}
	}
	visit(app.Node, "")
	return all
}

// values are what a flag or an argument can be; ok is false for any value, such as a file.
func values(v *kong.Value) (all []string, ok bool) {
	return v.EnumSlice(), v.Enum != ""
}

func flagNames(flags []*kong.Flag) (names []string) {
	for _, f := range flags {
		names = append(names, "--"+f.Name)
	}
	return names
}

func bashCompletion(program string, app *kong.Application) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# bash completion of %[1]s: source <(%[1]s completion bash)
_%[1]s() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path= words= i
	[[ $cur == = ]] && cur=
	[[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD-2]}
	for ((i = 1; i < COMP_CWORD; i++)); do
		case "$path ${COMP_WORDS[i]}" in
`, program)
	all := commandsOf(app)
	var paths []string
	for _, c := range all[1:] {
		paths = append(paths, `" `+c.path+`"`)
	}
	fmt.Fprintf(&b, "\t\t%s) path=\"$path ${COMP_WORDS[i]}\" ;;\n\t\tesac\n\tdone\n\tcase \"$path $prev\" in\n", strings.Join(paths, " | "))
	for _, c := range all {
		lead := ""
		if c.path != "" {
			lead = " " + c.path
		}
		for _, f := range c.flags {
			known, fixed := values(f.Value)
			switch {
			case fixed:
				fmt.Fprintf(&b, "\t\"%s --%s\") COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return ;;\n", lead, f.Name, strings.Join(known, " "))
			case !f.IsBool():
				fmt.Fprintf(&b, "\t\"%s --%s\") return ;;\n", lead, f.Name)
			}
		}
	}
	b.WriteString("\tesac\n\tcase \"$path\" in\n")
	for _, c := range all {
		lead := ""
		if c.path != "" {
			lead = " " + c.path
		}
		fmt.Fprintf(&b, "\t\"%s\") words=\"%s\" ;;\n", lead, strings.Join(append(slices.Concat(c.words, positional(app, c.path)), flagNames(c.flags)...), " "))
	}
	fmt.Fprintf(&b, "\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _%[1]s %[1]s\n", program)
	return b.String()
}

// positional are the values of the first argument of a command, if they are fixed.
func positional(app *kong.Application, path string) []string {
	for _, leaf := range app.Leaves(true) {
		if strings.TrimPrefix(leaf.FullPath(), app.Name+" ") == path && len(leaf.Positional) > 0 {
			known, _ := values(leaf.Positional[0])
			return known
		}
	}
	return nil
}

// zsh runs the completion of bash.
func zshCompletion(program string, app *kong.Application) string {
	return "# zsh completion of " + program + ": source <(" + program + " completion zsh)\n" +
		"(( $+functions[compdef] )) || { autoload -U +X compinit && compinit -i }\nautoload -U +X bashcompinit && bashcompinit\n" + bashCompletion(program, app)
}

func fishCompletion(program string, app *kong.Application) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# fish completion of %[1]s: %[1]s completion fish | source\n"+
		"function __%[1]s_at\n\tset -l words (commandline -opc)\n\tset -l path\n\tfor w in $words[2..-1]\n\t\tstring match -q -- '-*' $w; or set -a path $w\n\tend\n"+
		"\tif test (count $argv) -eq 0\n\t\ttest (count $path) -eq 0\n\telse\n\t\tstring match -q -- \"$argv *\" \"$path \"\n\tend\nend\n", program)
	quote := func(text string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
	}
	help := map[string]string{}
	for _, c := range commandsOf(app) {
		help[c.path] = c.help
	}
	for _, c := range commandsOf(app) {
		at := quote("__" + program + "_at " + c.path)
		for _, w := range c.words {
			fmt.Fprintf(&b, "complete -c %s -n %s -f -a %s -d %s\n", program, at, w, quote(help[strings.TrimSpace(c.path+" "+w)]))
		}
		if known := positional(app, c.path); len(known) > 0 {
			fmt.Fprintf(&b, "complete -c %s -n %s -f -a %s\n", program, at, quote(strings.Join(known, " ")))
		}
		if len(c.words) > 0 && c.path != "" {
			continue
		}
		for _, f := range c.flags {
			value := ""
			if known, fixed := values(f.Value); fixed {
				value = " -x -a " + quote(strings.Join(known, " "))
			} else if !f.IsBool() {
				value = " -r"
			}
			fmt.Fprintf(&b, "complete -c %s -n %s -l %s%s -d %s\n", program, at, f.Name, value, quote(f.Help))
		}
	}
	return b.String()
}
