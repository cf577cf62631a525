package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	maxLine    = 16 << 20         // bytes of one message
	lastAnswer = 10 * time.Second // how long answers may take after the end of the input
)

// lines is the transport of standard input and output: one message on each line. Unlike
// that of the library it answers a line that is no message and reads on, and answers what
// it has read when the input ends.
type lines struct {
	in  io.Reader
	out io.Writer
}

// Connect implements mcp.Transport.
func (l *lines) Connect(context.Context) (mcp.Connection, error) {
	c := &lineConn{out: l.out, read: make(chan lineRead), closed: make(chan struct{}), answered: make(chan struct{}, 1)}
	go c.scan(l.in)
	return c, nil
}

type lineRead struct {
	message jsonrpc.Message
	err     error
}

type lineConn struct {
	read     chan lineRead
	closed   chan struct{}
	close    sync.Once
	answered chan struct{} // an answer has gone out

	mu      sync.Mutex
	out     io.Writer
	pending map[any]bool // ids of requests without an answer
}

// scan reads lines until the end of the input. It cannot be interrupted while the input is
// open, so the process ends before it.
func (c *lineConn) scan(in io.Reader) {
	r := bufio.NewReader(in)
	var err error
	for err == nil {
		var line []byte
		if line, err = readLine(r); len(line) == 0 {
			continue
		}
		if len(line) > maxLine {
			c.malformed("it has more than 16 MiB")
			continue
		}
		m, bad := jsonrpc.DecodeMessage(line)
		if bad != nil {
			c.malformed(bad.Error())
			continue
		}
		if !c.hand(lineRead{message: m}) {
			return
		}
	}
	c.drain()
	c.hand(lineRead{err: err})
}

// readLine reads a line without white space around it. Of a line that is too long it keeps
// what shows that it is.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		piece, err := r.ReadSlice('\n')
		if len(line) <= maxLine {
			line = append(line, piece...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSpace(line), err
		}
	}
}

func (c *lineConn) hand(r lineRead) bool {
	if request, ok := r.message.(*jsonrpc.Request); ok && request.ID.IsValid() && request.Method != "subscriptions/listen" {
		c.mu.Lock()
		if c.pending == nil {
			c.pending = map[any]bool{}
		}
		c.pending[request.ID.Raw()] = true
		c.mu.Unlock()
	}
	select {
	case c.read <- r:
		return true
	case <-c.closed:
		return false
	}
}

// drain waits for the answers to all that was read.
func (c *lineConn) drain() {
	limit := time.After(lastAnswer)
	for {
		c.mu.Lock()
		left := len(c.pending)
		c.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-c.answered:
		case <-limit:
			return
		case <-c.closed:
			return
		}
	}
}

// malformed answers a line that is no message.
func (c *lineConn) malformed(why string) {
	text, _ := json.Marshal("the line is not a JSON-RPC message: " + why) // a string
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprintf(c.out, `{"jsonrpc":"2.0","id":null,"error":{"code":%d,"message":%s}}`+"\n", jsonrpc.CodeParseError, text) // a reader that has gone is noticed by Write
}

// Read implements mcp.Connection.
func (c *lineConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case r := <-c.read:
		return r.message, r.err
	case <-c.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Write implements mcp.Connection.
func (c *lineConn) Write(_ context.Context, m jsonrpc.Message) error {
	line, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = c.out.Write(append(line, '\n'))
	if response, ok := m.(*jsonrpc.Response); ok {
		delete(c.pending, response.ID.Raw())
		select {
		case c.answered <- struct{}{}:
		default:
		}
	}
	return err
}

// Close implements mcp.Connection.
func (c *lineConn) Close() error {
	c.close.Do(func() { close(c.closed) })
	return nil
}

// SessionID implements mcp.Connection.
func (c *lineConn) SessionID() string { return "" }
