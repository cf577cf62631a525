package client

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Client sends commands and queries to an engine. It is safe for concurrent use.
type Client struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	owned    bool // Close closes nc
	prefix   string
	writer   string
	patience time.Duration
	tokens   *tokens
	link     atomic.Pointer[link]
	status   chan nats.Status // of the connection, until Close
}

// link is a connection between two breaks of it.
type link struct {
	context.Context
	end context.CancelFunc
}

func newLink() *link {
	ctx, cancel := context.WithCancel(context.Background())
	return &link{ctx, cancel}
}

// Option changes how [Connect] and [New] make a client.
type Option func(*settings)

type settings struct {
	prefix   string
	writer   string
	patience time.Duration
	nats     []nats.Option
}

// WithCredentials signs in with a credentials file, as `engine auth add` writes it.
func WithCredentials(file string) Option {
	return WithNATS(nats.UserCredentials(file))
}

// WithPrefix is the --subject-prefix of the engine.
func WithPrefix(prefix string) Option {
	return func(s *settings) {
		if s.prefix = strings.TrimSuffix(prefix, "."); s.prefix != "" {
			s.prefix += "."
		}
	}
}

// WithWriter names the writer of entries, where a write does not name its own.
func WithWriter(writer string) Option {
	return func(s *settings) { s.writer = writer }
}

// WithPatience is how long a command or query is sent again while no engine answers or the
// engine is unavailable or overloaded, if its context has no earlier deadline. The default
// is 30 s.
func WithPatience(d time.Duration) Option {
	return func(s *settings) { s.patience = d }
}

// WithNATS passes options to the NATS client.
func WithNATS(options ...nats.Option) Option {
	return func(s *settings) { s.nats = append(s.nats, options...) }
}

// Connect connects to the NATS server at url. The connection is made again whenever it
// breaks, until Close. It fails if the server cannot be reached before the end of ctx.
func Connect(ctx context.Context, url string, options ...Option) (*Client, error) {
	s := apply(options)
	c := &Client{owned: true}
	opts := append([]nats.Option{
		nats.Name("tidemark-go"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.PingInterval(5 * time.Second), // a frozen server is left behind
	}, s.nats...)
	nc, err := dial(ctx, url, opts)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", password.ReplaceAllString(url, "$1$2"), err)
	}
	if err := c.init(nc, s); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// password is the user and the password in a URL.
var password = regexp.MustCompile(`(^|,)(\w+://)?[^,]*@`)

// dial connects, and gives up at the end of ctx.
func dial(ctx context.Context, url string, opts []nats.Option) (*nats.Conn, error) {
	type dialled struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan dialled, 1)
	go func() {
		nc, err := nats.Connect(url, opts...)
		done <- dialled{nc, err}
	}()
	select {
	case d := <-done:
		return d.nc, d.err
	case <-ctx.Done():
		go func() {
			if d := <-done; d.nc != nil {
				d.nc.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// New makes a client on a connection of the caller, which Close leaves open.
func New(nc *nats.Conn, options ...Option) (*Client, error) {
	c := &Client{}
	if err := c.init(nc, apply(options)); err != nil {
		return nil, err
	}
	return c, nil
}

func apply(options []Option) settings {
	s := settings{patience: 30 * time.Second}
	for _, o := range options {
		o(&s)
	}
	return s
}

func (c *Client) init(nc *nats.Conn, s settings) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("JetStream: %w", err)
	}
	c.nc, c.js, c.prefix, c.writer, c.patience, c.tokens = nc, js, s.prefix, s.writer, s.patience, newTokens()
	c.link.Store(newLink())
	c.status = nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	go c.follow()
	return nil
}

// follow ends the attempts under way when the connection is made again: their answers may
// have gone with the one before.
func (c *Client) follow() {
	for status := range c.status {
		if status == nats.CLOSED {
			return
		}
		c.link.Swap(newLink()).end()
	}
}

// Conn is the NATS connection of the client.
func (c *Client) Conn() *nats.Conn { return c.nc }

// Close closes the connection that [Connect] has made.
func (c *Client) Close() {
	if c.owned {
		c.nc.Close()
	}
	c.nc.RemoveStatusListener(c.status)
}
