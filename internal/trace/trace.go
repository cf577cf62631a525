// Package trace carries the W3C trace context of a request from its headers to the
// events that it causes, and records the spans of its steps.
package trace

import (
	"context"
	"regexp"
	"strings"
)

// Context is a W3C trace context; empty = the request has none.
type Context struct {
	Parent string // traceparent
	State  string // tracestate
}

// The form of traceparent that all versions share, and of a member of tracestate (W3C
// Trace Context, sections 3.2 and 3.3).
var (
	parentForm = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}`)
	memberForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$`)
)

const (
	parentLength = 55
	maxState     = 512 // bytes of a tracestate that is kept
	maxMembers   = 32
)

// Parse returns the context of two headers. A malformed traceparent makes it empty, a
// malformed tracestate is left out. Of a later version of traceparent the part that all
// versions share is kept.
func Parse(parent, state string) Context {
	if !parentForm.MatchString(parent) {
		return Context{}
	}
	version, rest := parent[:2], parent[parentLength:]
	if version == "ff" || version == "00" && rest != "" || rest != "" && rest[0] != '-' ||
		strings.Trim(parent[3:35], "0") == "" || strings.Trim(parent[36:52], "0") == "" {
		return Context{}
	}
	c := Context{Parent: strings.Clone(parent[:parentLength])}
	if validState(state) {
		c.State = strings.Clone(state)
	}
	return c
}

func validState(state string) bool {
	if state == "" || len(state) > maxState {
		return false
	}
	members := strings.Split(state, ",")
	for _, m := range members {
		if m = strings.Trim(m, " \t"); m != "" && !memberForm.MatchString(m) {
			return false
		}
	}
	return len(members) <= maxMembers
}

// ID is the trace id, empty without a context.
func (c Context) ID() string {
	if c.Parent == "" {
		return ""
	}
	return c.Parent[3:35]
}

type key struct{}

// With returns a context that carries c.
func With(ctx context.Context, c Context) context.Context {
	if c.Parent == "" {
		return ctx
	}
	return context.WithValue(ctx, key{}, c)
}

// From returns what With has set.
func From(ctx context.Context) Context {
	c, _ := ctx.Value(key{}).(Context)
	return c
}
