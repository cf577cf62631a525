package natsio

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// ServiceReply is the root of the reply subjects of requests from other accounts.
// The server makes them: no client can choose one.
const ServiceReply = "_R_."

// requestInfo is the header in which the server says who sends a request from
// another account.
const requestInfo = "Nats-Request-Info"

// Requester is the connection that sent a request, as the server says.
type Requester struct {
	Account string `json:"acc"`
	User    string `json:"user"`
	Kind    string `json:"kind"`
	Host    string `json:"host"`
	ID      uint64 `json:"id"`
	Client  string `json:"-"` // names the connection among all
	Origin  string `json:"-"` // names the account and the host
}

// requesters remembers what the headers of connections say: a header stays the
// same for as long as the server has not measured the connection again.
var requesters = struct {
	sync.RWMutex
	known map[string]*Requester
}{known: map[string]*Requester{}}

// maxRequesters bounds the remembered headers.
const maxRequesters = 8192

// CheckRequester returns who sent a request that came through the account that
// its subject names. It fails unless the server says so, once, and the sender is
// a client of that account.
func CheckRequester(h nats.Header, account string) (*Requester, error) {
	value, n := "", 0
	for name, values := range h {
		if len(name) >= len(requestInfo) && strings.EqualFold(strings.TrimSpace(name), requestInfo) {
			n += len(values)
			if len(values) > 0 {
				value = values[0]
			}
		}
	}
	if n != 1 {
		return nil, fmt.Errorf("the request has %d headers %s", n, requestInfo)
	}
	requesters.RLock()
	r := requesters.known[value]
	requesters.RUnlock()
	if r == nil {
		r = &Requester{}
		if err := json.Unmarshal([]byte(value), r); err != nil {
			return nil, fmt.Errorf("the header %s cannot be read: %w", requestInfo, err)
		}
		r.Account, r.User, r.Kind = strings.Clone(r.Account), strings.Clone(r.User), strings.Clone(r.Kind)
		r.Client, r.Origin = fmt.Sprintf("%s#%d", r.Account, r.ID), r.Account+"@"+r.Host
		requesters.Lock()
		if len(requesters.known) >= maxRequesters {
			clear(requesters.known)
		}
		requesters.known[strings.Clone(value)] = r
		requesters.Unlock()
	}
	if r.Account == "" || r.Account != account || r.Kind != "Client" || r.User == "" {
		return nil, fmt.Errorf("the request is of a %q of the account %.60q, and not of a client of the account %.60q", r.Kind, r.Account, account)
	}
	return r, nil
}
