package client

import (
	"context"
	"fmt"
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
		if s.prefix = prefix; prefix != "" {
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
	opts := append([]nats.Option{
		nats.Name("tidemark-go"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.PingInterval(5 * time.Second), // a frozen server is left behind
	}, s.nats...)
	nc, err := dial(ctx, url, opts)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	c, err := newClient(nc, s)
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.owned = true
	return c, nil
}

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
	return newClient(nc, apply(options))
}

func apply(options []Option) settings {
	s := settings{patience: 30 * time.Second}
	for _, o := range options {
		o(&s)
	}
	return s
}

func newClient(nc *nats.Conn, s settings) (*Client, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("JetStream: %w", err)
	}
	return &Client{nc: nc, js: js, prefix: s.prefix, writer: s.writer, patience: s.patience, tokens: newTokens()}, nil
}

// Conn is the NATS connection of the client.
func (c *Client) Conn() *nats.Conn { return c.nc }

// Close closes the connection that [Connect] has made.
func (c *Client) Close() {
	if c.owned {
		c.nc.Close()
	}
}
