package natsio_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

// TestCommandIDsInHeaders sends header blocks as they are, which client libraries
// would not.
func TestCommandIDsInHeaders(t *testing.T) {
	server := support.NATS(t)
	nc := support.Client(t, server)
	got := make(chan *nats.Msg, 1)
	sub, err := nc.ChanSubscribe("x", got)
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(conn)
	if _, err := in.ReadString('\n'); err != nil { // INFO
		t.Fatal(err)
	}
	fmt.Fprint(conn, "CONNECT {\"verbose\":false,\"headers\":true}\r\n")
	for _, c := range []struct{ header, id, code string }{
		{"NATS/1.0\r\nNats-Msg-Id: c1\r\n\r\n", "c1", ""},
		{"NATS/1.0\r\nnats-msg-id: c1\r\n\r\n", "c1", ""},
		{"NATS/1.0\r\nNATS-MSG-ID:c1\r\n\r\n", "c1", ""},
		{"NATS/1.0\r\nnAtS-mSg-iD :  c1\r\nOther: x\r\n\r\n", "c1", ""},
		{"NATS/1.0\r\nNats-Msg-Id: c1\r\nnats-msg-id: c1\r\n\r\n", "c1", ""},
		{"NATS/1.0\r\nOther: c1\r\n\r\n", "", ""},
		{"NATS/1.0\r\n\r\n", "", ""},
		{"NATS/1.0\r\nNats-Msg-Id: c1\r\nnats-msg-id: c2\r\n\r\n", "", "header.invalid"},
		{"NATS/1.0\r\nNats-Msg-Id: c1\r\nNats-Msg-Id: c2\r\n\r\n", "", "header.invalid"},
		{"NATS/1.0\r\nNats-Msg-Id c1\r\n\r\n", "", "header.invalid"},
		{"NATS/2.0\r\nNats-Msg-Id: c1\r\n\r\n", "", "header.invalid"},
		{"Nats-Msg-Id: c1\r\n\r\n", "", "header.invalid"},
		{"NATS/1.0\r\nNats-Msg-Id: c1\r\n", "", "header.invalid"},
		{"NATS/1.0\r\nNats-Msg-Id: c1\r\nbroken\r\n\r\n", "", "header.invalid"},
		{"NATS/1.0\r\nNats-Msg-Id:\r\n\r\n", "", "id.invalid"},
		{"NATS/1.0\r\nNats-Msg-Id: a.b\r\n\r\n", "", "id.invalid"},
		{"NATS/1.0\r\nNats-Msg-Id: c1 \r\n\r\n", "", "id.invalid"},
	} {
		fmt.Fprintf(conn, "HPUB x _INBOX.1 %d %d\r\n%sbody\r\n", len(c.header), len(c.header)+4, c.header)
		id, err := natsio.CommandID(harness.Receive(t, "the message", got))
		var known *domain.Error
		switch errors.As(err, &known); {
		case c.code == "" && (err != nil || id != c.id):
			t.Errorf("%q: %q, %v", c.header, id, err)
		case c.code != "" && (known == nil || known.Code != c.code || known.Kind != domain.Invalid):
			t.Errorf("%q: %s expected, got %q, %v", c.header, c.code, id, err)
		}
	}
}
