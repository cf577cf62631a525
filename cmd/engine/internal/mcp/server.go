package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/sync/semaphore"

	"github.com/tidemark-engine/tidemark/client"
)

// Options confine what a server does.
type Options struct {
	Agent    string // the only agent whose state it writes; "" = any
	ReadOnly bool   // no tool that writes
	Version  string // of the program

	subscriptions subscriptions
	sessionID     func() string // makes the id of a session over HTTP; nil = there are none
}

// subscriptions say how long a subscription to a resource lasts.
type subscriptions int

const (
	ofSession subscriptions = iota // until the client ends it, or its session
	ofRequest                      // as the request that makes it
	ofNone                         // there are none
)

// Server serves the tools and resources of one engine. Several sessions may use it.
type Server struct {
	client  *client.Client
	options Options
	calls   *semaphore.Weighted
	taken   atomic.Int64 // calls that run or wait
	mcp     *mcp.Server
	watches watches
	closing context.Context
	end     context.CancelFunc
}

const (
	maxCalls  = 32               // run at once
	maxTaken  = 256              // run or wait: of a session over HTTP, the client may have gone
	callQueue = 10 * time.Second // how long others wait
)

const instructions = `State, tasks, reminders and messages of agents, with their whole history. ` +
	`Every write is an event: read the past with at_revision or at_time, ask "why" an entry has its value, take changes back with state_revert. ` +
	`Use state_append and state_merge where several writers change one entry; with state_set give expected_version, and after a conflict decide again from the present value that the result has.`

// New makes a server on a client of an engine. Close ends what it watches.
func New(c *client.Client, o Options) *Server {
	s := &Server{client: c, options: o, calls: semaphore.NewWeighted(maxCalls)}
	s.closing, s.end = context.WithCancel(context.Background())
	options := &mcp.ServerOptions{Instructions: instructions, Capabilities: &mcp.ServerCapabilities{}, GetSessionID: o.sessionID,
		// The answers are by the grants of a principal: no cache between may give them to another.
		SetCacheable: func(_ context.Context, _ mcp.Request, c *mcp.Cacheable) { c.CacheScope = "private" }}
	if o.subscriptions != ofNone {
		options.SubscribeHandler, options.UnsubscribeHandler = s.subscribe, s.unsubscribe
	}
	s.mcp = mcp.NewServer(&mcp.Implementation{Name: "tidemark", Title: "Tidemark", Version: o.Version}, options)
	for _, t := range tools {
		if !t.writes || !o.ReadOnly {
			s.add(t)
		}
	}
	s.mcp.AddResourceTemplate(&mcp.ResourceTemplate{
		URITemplate: "tidemark://agent/{id}/{+key}", Name: "entry", MIMEType: "application/json",
		Description: "An entry of an agent's state: value, version, revision, timestamp.",
	}, s.read)
	return s
}

// Run serves one client on in and out, until in or ctx ends.
func (s *Server) Run(ctx context.Context, in io.Reader, out io.Writer) error {
	defer s.Close()
	if err := s.mcp.Run(ctx, &lines{in, out}); !errors.Is(err, io.EOF) && ctx.Err() == nil {
		return err
	}
	return nil
}

// Close ends the calls, and what the server watches.
func (s *Server) Close() {
	s.end()
	s.watches.close()
}

func (s *Server) add(t tool) {
	params := slices.Clone(t.params)
	if i := slices.IndexFunc(params, isAgent); i >= 0 && s.options.Agent != "" {
		params[i].required = false
		params[i].help += "; default " + s.options.Agent
	}
	readOnly := &mcp.ToolAnnotations{ReadOnlyHint: !t.writes}
	s.mcp.AddTool(&mcp.Tool{Name: t.name, Description: t.help, InputSchema: schemaOf(params), Annotations: readOnly},
		func(ctx context.Context, request *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return s.call(ctx, t, params, request.Params.Arguments), nil
		})
}

func isAgent(p param) bool { return p.name == "agent" }

// call runs a tool. Whatever goes wrong is a result.
func (s *Server) call(ctx context.Context, t tool, params []param, raw json.RawMessage) *mcp.CallToolResult {
	a, err := parse(params, raw)
	if err != nil {
		return refused(&client.Error{Kind: "invalid", Code: "arguments.invalid", Status: 400, Message: err.Error()}, nil)
	}
	if slices.ContainsFunc(params, isAgent) && s.options.Agent != "" && a["agent"] == nil {
		a["agent"], _ = json.Marshal(s.options.Agent)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(s.closing, stop)()
	if err := s.confined(ctx, t, a); err != nil {
		return s.refusal(ctx, args{}, err)
	}
	waiting, cancel := context.WithTimeout(ctx, callQueue)
	defer cancel()
	defer s.taken.Add(-1)
	if s.taken.Add(1) > maxTaken || s.calls.Acquire(waiting, 1) != nil {
		return refused(&client.Error{Kind: "overloaded", Code: "mcp.overloaded", Status: 429,
			Message: fmt.Sprintf("%d calls are under way: try again", maxCalls), Details: json.RawMessage(`{"retry_after_ms":1000}`)}, nil)
	}
	defer s.calls.Release(1)
	out, err := t.run(ctx, s, a)
	if err != nil {
		return s.refusal(ctx, a, err)
	}
	return result(out, false)
}

// confined refuses a write beyond --agent.
func (s *Server) confined(ctx context.Context, t tool, a args) error {
	if s.options.Agent == "" || !t.writes {
		return nil
	}
	if id := a.text("agent"); id != "" && id != s.options.Agent {
		return &client.Error{Kind: "forbidden", Code: "agent.confined", Status: 403, Message: fmt.Sprintf("this server writes the state of agent %s alone, not of %s", s.options.Agent, id)}
	}
	raw, reminds := a["command"]
	if !reminds {
		return nil
	}
	var command struct {
		Subject string `json:"subject"`
	}
	if err := json.Unmarshal(raw, &command); err != nil {
		return &client.Error{Kind: "invalid", Code: "arguments.invalid", Status: 400, Message: "command must be an object with subject and body"}
	}
	own := s.own(command.Subject)
	if id := a.text("reminder"); own && id != "" { // that it would replace
		var reminder struct {
			Command struct {
				Subject string `json:"subject"`
			} `json:"command"`
		}
		err := s.client.Read(ctx, "reminder."+id+".get", nil, &reminder)
		if err != nil && !errors.Is(err, client.ErrNotFound) {
			return err
		}
		own = err != nil || s.own(reminder.Command.Subject)
	}
	if !own {
		return &client.Error{Kind: "forbidden", Code: "agent.confined", Status: 403, Message: fmt.Sprintf("this server reminds agent %s alone: the command, and that of a reminder in its place, must be one of its own", s.options.Agent)}
	}
	return nil
}

// own reports whether a command is one of the agent that the server is confined to.
func (s *Server) own(subject string) bool {
	tokens := strings.Split(strings.TrimPrefix(subject, "commands."), ".")
	return len(tokens) == 3 && slices.Contains([]string{"agent", "config", "message"}, tokens[0]) && tokens[1] == s.options.Agent
}

// refusal is the result of an error. To a conflict about an entry it adds the entry as it is
// now, so that the model can decide again.
func (s *Server) refusal(ctx context.Context, a args, err error) *mcp.CallToolResult {
	var refusal *client.Error
	if !errors.As(err, &refusal) {
		refusal = &client.Error{Kind: "unavailable", Code: "engine.unanswered", Status: 503, Message: err.Error()}
	}
	var current json.RawMessage
	if errors.Is(refusal, client.ErrConflict) && a["key"] != nil {
		err := s.client.Read(ctx, "agent."+a.text("agent")+".get", map[string]any{"key": a["key"], "consistency": "strong"}, &current)
		if errors.Is(err, client.ErrNotFound) {
			current = json.RawMessage(`{"version":0}`)
		}
	}
	return refused(refusal, current)
}

func refused(err error, current json.RawMessage) *mcp.CallToolResult {
	out := map[string]any{"error": err}
	if current != nil {
		out["current"] = current
	}
	return result(out, true)
}

func result(out any, isError bool) *mcp.CallToolResult {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(out)
	text := bytes.TrimSpace(b.Bytes())
	if err != nil { // a document of the engine that is no JSON
		text, isError = []byte(`{"error":{"code":"answer.invalid","status":500}}`), true
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(text)}}, StructuredContent: json.RawMessage(text), IsError: isError}
}
