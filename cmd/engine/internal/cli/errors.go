package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/internal/redact"
)

// Exit codes of the program (contract, section 7).
const (
	ExitDone   = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// ErrFailed ends the program with exit code 1 and without a message, because
// the subcommand has printed what failed.
var ErrFailed = errors.New("failed")

// usagef is a mistake in the arguments.
func usagef(format string, args ...any) error { return deployment.Usagef(format, args...) }

// UsageError is an error in the arguments that the parser found.
func UsageError(err error) error {
	if p := new(kong.ParseError); errors.As(err, &p) && p.Context != nil && p.Context.Error == nil {
		if without := missing(p.Context); len(without) > 0 { // its empty value would be called wrong
			err = fmt.Errorf("%s: missing %s", p.Context.Command(), strings.Join(without, ", "))
		} else if group := p.Context.Selected(); group != nil && strings.HasPrefix(err.Error(), "expected one of") { // the parser's list ends after five
			var words []string
			for _, child := range group.Children {
				words = append(words, child.Name)
			}
			err = fmt.Errorf("%s needs one of %s", group.Name, strings.Join(words, ", "))
		}
	}
	if text := notDuration.ReplaceAllString(err.Error(), "$1 is not a time such as 500ms, 10s or 5m"); text != err.Error() {
		err = errors.New(text)
	}
	return usagef("%w (engine --help, engine COMMAND --help)", err)
}

// notDuration is what the parser says about a value that is no duration.
var notDuration = regexp.MustCompile(`expected duration but got ("[^"]*"|\S+)(: time: .*)?`)

// missing are the required arguments and flags of a subcommand that were not given.
func missing(ctx *kong.Context) (names []string) {
	node := ctx.Selected()
	if node == nil {
		return nil
	}
	for _, a := range node.Positional {
		if a.Required && !a.Set {
			name := a.Summary()
			if a.Enum != "" {
				name += " (" + strings.ReplaceAll(a.Enum, ",", ", ") + ")"
			}
			names = append(names, name)
		}
	}
	for _, f := range node.Flags {
		if f.Required && !f.Set {
			names = append(names, f.String())
		}
	}
	return names
}

// HelpText is the text of a flag with its default, where its summary has a placeholder, and
// its variable.
func HelpText(v *kong.Value) string {
	with := *v
	if v.Flag != nil && v.Flag.PlaceHolder != "" && v.Default != "" {
		with.Help = strings.TrimSuffix(v.Help, ".") + "; default: " + v.Default + "."
	}
	return kong.DefaultHelpValueFormatter(&with)
}

// ExitCode is the exit code of a subcommand that ended with err.
func ExitCode(err error) int {
	var usage *deployment.UsageError
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &usage):
		return ExitUsage
	}
	return ExitFailed
}

// problem is an error as --json prints it.
type problem struct {
	Kind    string `json:"kind"` // of the wire contract, or usage, or failed
	Code    string `json:"code"`
	Message string `json:"message"`
}

// PrintError prints why a subcommand failed: on a terminal a line of text, elsewhere or with
// asJSON the body of the engine's refusal or an object like it.
func (p *Program) PrintError(w io.Writer, err error, asJSON bool) {
	if err == nil || errors.Is(err, ErrFailed) {
		return
	}
	text := p.Text(redact.Text(message(err)))
	if !asJSON && isTerminal(w) {
		// Own line breaks stay; what follows them cannot look like another message.
		lines := strings.Split(text, "\n")
		for i := range lines {
			lines[i] = Escape(lines[i])
		}
		fmt.Fprintln(w, paint(w, red, p.Name+":")+" "+strings.Join(lines, "\n  "))
		return
	}
	var no *deployment.Refusal
	if errors.As(err, &no) && json.Valid(no.Body) {
		fmt.Fprintf(w, "%s\n", oneLine(no.Body))
		return
	}
	var known *domain.Error
	if errors.As(err, &known) && ExitCode(err) != ExitUsage {
		fmt.Fprintf(w, "%s\n", known.Encode())
		return
	}
	why := problem{"failed", "failed", text}
	switch {
	case ExitCode(err) == ExitUsage:
		why.Kind, why.Code = "usage", "usage"
	case natsio.RefusesClient(err):
		why.Kind, why.Code = "forbidden", "credentials.refused"
	case errors.Is(err, deployment.ErrUnreachable):
		why.Kind, why.Code = "unavailable", "engine.unreachable"
	}
	body := struct {
		Error problem `json:"error"`
	}{why}
	_ = (&Output{Writer: w}).JSON(body) // there is no other place to report it
}

// message is the text of an error, without what PostgreSQL's errors say about the
// server behind: addresses, users and statements.
func message(err error) string {
	text := err.Error()
	var connect *pgconn.ConnectError
	var parse *pgconn.ParseConfigError
	var server *pgconn.PgError
	switch {
	case errors.As(err, &connect):
		why := "no connection"
		if errors.As(err, &server) {
			why = "the server refuses the connection, SQLSTATE " + server.Code
		}
		return strings.Replace(text, connect.Error(), "PostgreSQL is unavailable: "+why+
			" (engine status shows its state; --postgres names another URL)", 1)
	case errors.As(err, &parse):
		return strings.Replace(text, parse.Error(), "not a PostgreSQL URL or DSN", 1)
	}
	var known *domain.Error
	if errors.As(err, &known) {
		said := known.Message
		if ExitCode(err) != ExitUsage {
			said = fmt.Sprintf("%d %s: %s", known.Kind.Status(), known.Code, known.Message)
		}
		text = strings.Replace(text, known.Error(), said, 1)
	}
	var file *fs.PathError
	if errors.As(err, &file) {
		text = strings.Replace(text, file.Error(), fileText(file), 1)
	}
	var listen *net.OpError
	if errors.As(err, &listen) && listen.Op == "listen" && errors.Is(err, syscall.EADDRINUSE) {
		text = strings.Replace(text, listen.Error(), fmt.Sprintf("the address %s is in use by another program", listen.Addr), 1)
	}
	return inPlainWords.Replace(text)
}

// inPlainWords replaces what Go's libraries say.
var inPlainWords = strings.NewReplacer(context.Canceled.Error(), "interrupted", context.DeadlineExceeded.Error(), "no answer in time",
	io.ErrUnexpectedEOF.Error(), "the data end too early")

// fileText says what is wrong with a file.
func fileText(err *fs.PathError) string {
	if err.Path == os.Stdout.Name() {
		return "standard output cannot be written: " + err.Err.Error()
	}
	if errors.Is(err, fs.ErrNotExist) {
		if dir := filepath.Dir(err.Path); !exists(dir) {
			return "the directory " + dir + " does not exist"
		}
		return err.Path + " does not exist"
	}
	return fmt.Sprintf("%s: %s", err.Path, err.Err)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
