package httpserver

import (
	"errors"
	"net"
	"testing"

	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestHTTPConnectionsAreBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	l := limited(inner, 2, func() {})
	accepted, ended := make(chan net.Conn, 10), make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c
		}
	}()
	for range 5 {
		c, err := net.Dial("tcp", inner.Addr().String())
		harness.Must(t, err)
		defer c.Close()
	}
	first := harness.Receive(t, "a connection", accepted)
	second := harness.Receive(t, "a connection", accepted)
	if len(accepted) > 0 {
		t.Error("a third one has no place")
	}
	harness.Must(t, first.Close())
	_ = first.Close() // leaves one place
	third := harness.Receive(t, "a connection", accepted)
	if len(accepted) > 0 {
		t.Error("a fourth one has no place")
	}
	harness.Must(t, l.Close())
	if err := harness.Receive(t, "the end", ended); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	_, _ = second.Close(), third.Close()
}
