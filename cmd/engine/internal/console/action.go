package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/tidemark-engine/tidemark/client"
)

// plan is what an action will do.
type plan struct {
	title  string
	says   string // what will happen, as a sentence
	danger bool   // it takes something away
	button string // what the button says that does it
	back   templ.SafeURL

	subject string         // of the command, below commands.
	body    map[string]any // of the command

	// do is called instead of sending a command. Its result is shown as JSON. A repetition
	// with the same id must have no further effect.
	do   func(ctx context.Context, id string) (any, error)
	line string // the equivalent command line of do

	more templ.Component // what else there is to know before it is done; nil = nothing
}

// action makes the plan of a form. It changes nothing. An error is shown with the form's page
// to go back to.
type action func(r *request, f url.Values) (plan, error)

// maxForm bounds the bytes of a form: a command's body, percent-encoded.
const maxForm = 4 << 20

// act answers the forms of actions. The first POST shows the plan with a command id; the one
// with this id carries it out. So a second click has no second effect.
func (c *Console) act(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	req, ok := c.enter(w, r)
	if !ok {
		return
	}
	name := r.PathValue("action")
	make, known := actions[name]
	if !known {
		make, known = operationActions[name]
	}
	if !known {
		c.unknown(w, r)
		return
	}
	if err := r.ParseForm(); err != nil {
		c.render(w, req, failed(&client.Error{Kind: "too_large", Code: "body.too_large", Status: http.StatusRequestEntityTooLarge, Message: "the form is too large or not readable"}))
		return
	}
	if c.forged(r) {
		c.render(w, req, view{title: "The form was too old", status: http.StatusForbidden,
			body: message("Go back, load the page again and try once more.", "")})
		return
	}
	p, err := make(req, r.PostForm)
	if err != nil {
		c.render(w, req, failed(err))
		return
	}
	id := r.PostForm.Get("command_id")
	if id == "" {
		c.render(w, req, view{title: p.title, body: confirmation(req, name, client.NewID(), p, fields(r.PostForm))})
		return
	}
	result, err := carryOut(req, p, id)
	v := view{title: p.title, body: outcome(p, p.commandLine(c, id), result, err)}
	var e *client.Error
	if errors.As(err, &e) {
		v.status = e.Status
	}
	c.render(w, req, v)
}

// carryOut does what was confirmed.
func carryOut(r *request, p plan, id string) (any, error) {
	if p.do != nil {
		return p.do(r.Context(), id)
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*patience)
	defer cancel()
	return r.s.client.Command(ctx, p.subject, p.body, client.CommandID(id))
}

// field is a field of a form that is sent again with the confirmation.
type field struct{ name, value string }

func fields(f url.Values) (of []field) {
	for name, values := range f {
		if name == "csrf" || name == "command_id" {
			continue
		}
		for _, v := range values {
			of = append(of, field{name, v})
		}
	}
	slices.SortStableFunc(of, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return of
}

// commandLine is the command line that does the same.
func (p *plan) commandLine(c *Console, id string) string {
	if p.do != nil {
		return p.line
	}
	return c.engineLine("send", "commands."+p.subject, p.body) + " --id " + id
}

// engineLine is a command line of engine send or engine query.
func (c *Console) engineLine(verb, subject string, body map[string]any) string {
	if c.cfg.Prefix != "" {
		subject = c.cfg.Prefix + "." + subject
	}
	line := "engine " + verb + c.cfg.Flags + " " + subject
	if len(body) > 0 {
		line += " " + quoted(encoded(body))
	}
	return line
}

// encoded is JSON for people: values keep their bytes.
func encoded(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// quoted is a word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// jsonField is a field that holds JSON. A browser sends line ends as CR LF.
func jsonField(f url.Values, name string) (json.RawMessage, error) {
	text := strings.TrimSpace(strings.ReplaceAll(f.Get(name), "\r\n", "\n"))
	if !json.Valid([]byte(text)) {
		return nil, invalid(name + " is not JSON: text needs quotes, as in \"curious\"")
	}
	return json.RawMessage(text), nil
}

// optionalNumber adds a field to the body unless it is empty.
func optionalNumber(f url.Values, name string, body map[string]any) error {
	text := strings.TrimSpace(f.Get(name))
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return invalid(name + " is not a number")
	}
	body[name] = n
	return nil
}

// invalid is an error about a form, in the form that the wire gives.
func invalid(text string) error {
	return &client.Error{Kind: "invalid", Code: "form.invalid", Status: http.StatusBadRequest, Message: text}
}
