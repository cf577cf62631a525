package reference

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

func serveFlags(program *kong.Application) []byte {
	p := newPage("Flags of serve", "Each is a flag, an environment variable and a key of the YAML file of `--config`, where nested keys are joined with a dash and `_` stands for `-`. "+
		"[Configuration](configuration.md) explains them.\n\n| flag | environment | default | meaning |\n|---|---|---|---|")
	for _, cmd := range program.Leaves(true) {
		if cmd.Name == "serve" {
			for _, f := range flags(cmd, program) {
				env := "–"
				if len(f.Envs) > 0 {
					env = "`" + strings.Join(f.Envs, "`, `") + "`"
				}
				fmt.Fprintf(p, "| %s | %s | %s | %s |\n", flagText(f), env, defaultText(f), cell(f.Help))
			}
		}
	}
	return p.bytes()
}

// flags are those of a command, without --help and, where program is given, what all
// commands share.
func flags(cmd *kong.Node, program *kong.Application) (all []*kong.Flag) {
	shared := map[string]bool{}
	for _, f := range program.Flags {
		shared[f.Name] = true
	}
	for _, group := range cmd.AllFlags(true) {
		for _, f := range group {
			if !shared[f.Name] && f.Name != "help" {
				all = append(all, f)
			}
		}
	}
	return all
}

func flagText(f *kong.Flag) string {
	text := "--" + f.Name
	if !f.IsBool() {
		text += "=" + f.FormatPlaceHolder()
	}
	if f.Short != 0 {
		text = "-" + string(f.Short) + ", " + text
	}
	return code(text)
}

func defaultText(f *kong.Flag) string {
	if f.Default == "" {
		return "–"
	}
	return code(f.Default)
}

// clientFlags are the flags of deployment.Target, which all client subcommands share.
var clientFlags = map[string]bool{"data": true, "server": true, "creds": true, "subject-prefix": true, "timeout": true, "json": true}

func subcommands(program *kong.Application) []byte {
	p := newPage("Subcommands", "[The program](cli.md) explains exit codes and output.\n\n## Flags of all subcommands\n\n| flag | meaning |\n|---|---|")
	for _, f := range program.Flags {
		fmt.Fprintf(p, "| %s | %s |\n", flagText(f), cell(f.Help))
	}
	fmt.Fprintf(p, "\n## Flags of all client subcommands\n\n| flag | default | meaning |\n|---|---|---|\n")
	for _, cmd := range program.Leaves(true) {
		if cmd.Name == "status" {
			for _, f := range flags(cmd, program) {
				if clientFlags[f.Name] {
					fmt.Fprintf(p, "| %s | %s | %s |\n", flagText(f), defaultText(f), cell(f.Help))
				}
			}
		}
	}
	for _, cmd := range program.Leaves(true) {
		name := strings.TrimPrefix(cmd.FullPath(), program.Name+" ")
		fmt.Fprintf(p, "\n## %s\n\n%s\n\n```\n%s\n```\n", name, cell(cmd.Help), usage(cmd))
		if name == "serve" {
			fmt.Fprintf(p, "\nFlags: [serve](serve.md)\n")
			continue
		}
		p.arguments(cmd, program)
	}
	return p.bytes()
}

func usage(cmd *kong.Node) string {
	text := cmd.FullPath()
	for _, a := range cmd.Positional {
		text += " " + a.Summary()
	}
	return text + " [flags]"
}

func (p *page) arguments(cmd *kong.Node, program *kong.Application) {
	var rows []string
	for _, a := range cmd.Positional {
		rows = append(rows, fmt.Sprintf("| %s | – | %s |", code(a.Summary()), cell(a.Help)))
	}
	client := 0
	for _, f := range flags(cmd, program) {
		if clientFlags[f.Name] {
			client++
		}
	}
	for _, f := range flags(cmd, program) {
		if client < len(clientFlags) || !clientFlags[f.Name] {
			rows = append(rows, fmt.Sprintf("| %s | %s | %s |", flagText(f), defaultText(f), cell(f.Help)))
		}
	}
	if len(rows) > 0 {
		fmt.Fprintf(p, "\n| argument or flag | default | meaning |\n|---|---|---|\n%s\n", strings.Join(rows, "\n"))
	}
	if client == len(clientFlags) {
		fmt.Fprintf(p, "\nAnd the flags of all client subcommands.\n")
	}
}
