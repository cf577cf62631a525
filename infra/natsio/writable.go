package natsio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// CodeSealed is the server's code for a stream that is sealed. It stays so.
const CodeSealed = 10109

// codeOtherStream refuses a message that names another stream than the one it reached.
const codeOtherStream = 10060

// Writable asks a stream whether it takes what is published on a subject, with a message
// that it must refuse, because the message is for another stream. nil = it does, except that
// it may have no room: the server looks at the limits of a stream later.
func Writable(ctx context.Context, nc *nats.Conn, subject string) error {
	reply, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: nats.Header{jetstream.ExpectedStreamHeader: []string{"-"}}})
	if err != nil {
		return err
	}
	var ack struct {
		Error *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(reply.Data, &ack); {
	case err != nil:
		return fmt.Errorf("read the answer of a stream: %w", err)
	case ack.Error == nil:
		return errors.New("the stream has taken a message for another one")
	case HasCode(ack.Error, codeOtherStream) || HasCode(ack.Error, storageCodes...):
		return nil
	}
	return ack.Error
}
