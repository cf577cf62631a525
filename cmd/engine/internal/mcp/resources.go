package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/tidemark-engine/tidemark/client"
)

const scheme = "tidemark://agent/"

// entryOf is the agent and the key of a resource.
func entryOf(uri string) (agent, key string, err error) {
	rest, ok := strings.CutPrefix(uri, scheme)
	agent, key, two := strings.Cut(rest, "/")
	if !ok || !two || agent == "" || key == "" {
		return "", "", mcp.ResourceNotFoundError(uri)
	}
	return agent, key, nil
}

// read answers a resource: the entry as its query answers it.
func (s *Server) read(ctx context.Context, request *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	uri := request.Params.URI
	agent, key, err := entryOf(uri)
	if err != nil {
		return nil, err
	}
	var entry json.RawMessage
	err = s.client.Read(ctx, "agent."+agent+".get", map[string]any{"key": key}, &entry)
	if errors.Is(err, client.ErrNotFound) {
		return nil, mcp.ResourceNotFoundError(uri)
	}
	if err != nil {
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: err.Error()}
	}
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: uri, MIMEType: "application/json", Text: string(entry)}}}, nil
}

// maxWatches bounds the resources that are watched at once.
const maxWatches = 1000

// watches are the resources with subscribers.
type watches struct {
	mu      sync.Mutex
	running sync.WaitGroup
	of      map[string]*watch
	closed  bool
}

type watch struct {
	subscribers map[*mcp.ServerSession]bool
	stop        context.CancelFunc
}

// subscribe watches a resource for its first subscriber. A resource that may not be read
// is refused.
func (s *Server) subscribe(ctx context.Context, request *mcp.SubscribeRequest) error {
	uri := request.Params.URI
	agent, key, err := entryOf(uri)
	if err != nil {
		return err
	}
	var entry struct {
		Revision uint64 `json:"revision"`
	}
	if err := s.client.Read(ctx, "agent."+agent+".get", map[string]any{"key": key}, &entry); err != nil && !errors.Is(err, client.ErrNotFound) {
		return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: err.Error()}
	}
	w := &s.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.options.subscriptions == ofRequest {
		context.AfterFunc(ctx, func() { w.leave(request.Session, uri) })
	}
	if one := w.of[uri]; one != nil {
		one.subscribers[request.Session] = true
		return nil
	}
	if w.closed || len(w.of) >= maxWatches {
		return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "too many resources are watched"}
	}
	if w.of == nil {
		w.of = map[string]*watch{}
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.of[uri] = &watch{subscribers: map[*mcp.ServerSession]bool{request.Session: true}, stop: stop}
	w.running.Go(func() { s.follow(watching, uri, agent, key, entry.Revision) })
	return nil
}

// unsubscribe ends the watch of a resource with its last subscriber.
func (s *Server) unsubscribe(_ context.Context, request *mcp.UnsubscribeRequest) error {
	s.watches.leave(request.Session, request.Params.URI)
	return nil
}

func (w *watches) leave(session *mcp.ServerSession, uri string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if one := w.of[uri]; one != nil {
		if delete(one.subscribers, session); len(one.subscribers) == 0 {
			one.stop()
			delete(w.of, uri)
		}
	}
}

// leaveAll ends the subscriptions of a session.
func (w *watches) leaveAll(session *mcp.ServerSession) {
	w.mu.Lock()
	uris := slices.Collect(maps.Keys(w.of))
	w.mu.Unlock()
	for _, uri := range uris {
		w.leave(session, uri)
	}
}

func (w *watches) close() {
	w.mu.Lock()
	w.closed = true
	for _, one := range w.of {
		one.stop()
	}
	w.mu.Unlock()
	w.running.Wait()
}

// follow notifies the subscribers of each change after a revision of the entry, until ctx ends.
func (s *Server) follow(ctx context.Context, uri, agent, key string, known uint64) {
	for ctx.Err() == nil {
		for entry, err := range client.Watch[json.RawMessage](ctx, s.client.Agent(agent), key) {
			if err != nil {
				break
			}
			if !entry.Deleted {
				if entry.Revision <= known {
					continue
				}
				known = entry.Revision
			}
			_ = s.mcp.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: uri}) // it returns no error
		}
		select { // the connection or the bucket is lost
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
