package console

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/client"
)

// ErrStarting means that the engine has no server to connect to yet.
var ErrStarting = errors.New("the engine starts")

const (
	maxSessions = 64               // signed in at once; the one that was idle for longest makes way
	maxOfOne    = 16               // of these of one principal, and as many live pages
	idleTimeout = 30 * time.Minute // of a session without a request or an open live page
	maxAge      = 12 * time.Hour   // of a session, used or not
	patience    = 5 * time.Second  // of one question or command
)

// session is a signed-in principal, or all of development mode.
type session struct {
	Principal string // empty = development mode
	account   string // that the server has admitted; empty = development mode, or not known
	holder    string // names the principal, also where its account is not known; empty = development mode
	client    *client.Client
	nc        connection
	begun     time.Time
	used      time.Time // guarded by sessions.mu
}

// connection is what a session needs of its NATS connection beside the client.
type connection interface {
	IsClosed() bool
	Close()
}

// sessions are in memory only: a restart of the engine ends them.
type sessions struct {
	connect func(credentials string) (*nats.Conn, error)
	prefix  string

	mu   sync.Mutex
	of   map[[32]byte]*session // by the hash of the cookie: memory holds nothing that can be sent
	live map[string]int        // live pages by holder
	dev  *session
}

func newSessions(connect func(string) (*nats.Conn, error), prefix string) *sessions {
	return &sessions{connect: connect, prefix: prefix, of: map[[32]byte]*session{}, live: map[string]int{}}
}

func (s *sessions) open(credentials string) (*session, error) {
	nc, err := s.connect(credentials)
	if err != nil {
		return nil, err
	}
	c, err := client.New(nc, client.WithPrefix(s.prefix), client.WithPatience(patience))
	if err != nil {
		nc.Close()
		return nil, err
	}
	now := time.Now()
	one := &session{client: c, nc: nc, begun: now, used: now}
	if credentials != "" {
		one.Principal = "principal" // of a bare seed the name is not known
	}
	if user := userOf(credentials); user != nil {
		if user.Name != "" {
			one.Principal = user.Name
		}
		one.account = cmp.Or(user.IssuerAccount, user.Issuer)
	}
	if one.holder = one.account; one.holder == "" {
		one.holder = keyOf(credentials)
	}
	return one, nil
}

// development is the session that all browsers on this machine share without --auth.
func (s *sessions) development() (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dev != nil && !s.dev.nc.IsClosed() {
		return s.dev, nil
	}
	dev, err := s.open("")
	if err == nil {
		s.dev = dev
	}
	return dev, err
}

// find is the session of a cookie; nil = there is none, or its principal was revoked.
func (s *sessions) find(cookie string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := sha256.Sum256([]byte(cookie))
	one := s.of[id]
	if one == nil {
		return nil
	}
	if now := time.Now(); !one.over(now) {
		one.used = now
		return one
	}
	s.end(id)
	return nil
}

// keep counts an open live page as use. False = the session is over.
func (s *sessions) keep(one *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if one.over(now) {
		return false
	}
	one.used = now
	return true
}

func (one *session) over(now time.Time) bool {
	return now.Sub(one.used) > idleTimeout || now.Sub(one.begun) > maxAge || one.nc.IsClosed()
}

// add returns the cookie of a new session.
func (s *sessions) add(one *session) (cookie string) {
	cookie = secret()
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.holder != "" {
		s.makeWay(maxOfOne, func(other *session) bool { return other.holder == one.holder })
	}
	s.makeWay(maxSessions, func(*session) bool { return true })
	s.of[sha256.Sum256([]byte(cookie))] = one
	return cookie
}

// makeWay ends the session of some that was idle for longest, if there are as many as may be.
// It is called with the lock.
func (s *sessions) makeWay(most int, some func(*session) bool) {
	n := 0
	var oldest [32]byte
	var at time.Time
	for id, other := range s.of {
		if !some(other) {
			continue
		}
		if n++; at.IsZero() || other.used.Before(at) {
			oldest, at = id, other.used
		}
	}
	if n >= most {
		s.end(oldest)
	}
}

// follow counts a live page of a session; false = its principal has as many as it may have.
// leave must be called when the page has ended.
func (s *sessions) follow(one *session) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.holder != "" && s.live[one.holder] >= maxOfOne {
		return nil, false
	}
	s.live[one.holder]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.live[one.holder]--; s.live[one.holder] == 0 {
			delete(s.live, one.holder)
		}
	}, true
}

func (s *sessions) remove(cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(sha256.Sum256([]byte(cookie)))
}

// end is called with the lock.
func (s *sessions) end(id [32]byte) {
	if one := s.of[id]; one != nil {
		one.nc.Close()
		delete(s.of, id)
	}
}

// expire ends sessions that are over until ctx ends.
func (s *sessions) expire(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.mu.Lock()
			for id, one := range s.of {
				if one.over(now) {
					s.end(id)
				}
			}
			s.mu.Unlock()
		}
	}
}

func (s *sessions) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.of {
		s.end(id)
	}
	if s.dev != nil {
		s.dev.nc.Close()
	}
}

// userOf is the user in the text of a credentials file; nil = there is none, as with the seed of
// an NKey. A connection sends the JWT that is read here, and the server checks who signed it. From
// any other text it sends none, so none is read: what the text claims would not be checked.
func userOf(credentials string) *jwt.UserClaims {
	if !strings.Contains(credentials, "BEGIN NATS USER JWT") {
		return nil
	}
	token, err := nkeys.ParseDecoratedJWT([]byte(credentials))
	if err != nil {
		return nil
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return nil
	}
	return claims
}

// keyOf is the public key of the seed in credentials; empty = there is none.
func keyOf(credentials string) string {
	pair, err := nkeys.ParseDecoratedNKey([]byte(credentials))
	if err != nil {
		return ""
	}
	key, _ := pair.PublicKey() // a pair from a seed has one
	return key
}

// caller is who asks the engine for what is not on the wire.
func (r *request) caller() Caller { return Caller{Account: r.s.account} }
