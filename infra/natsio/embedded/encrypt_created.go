package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// createdTime bounds one request of keepCreated.
const createdTime = 10 * time.Second

// keepCreated updates each stream and consumer of an account with its own configuration. The
// server describes those that it encrypts as created now (ConsumerStore and newFileStore of
// nats-server 2.15.3), and only an update writes when they were: after its next start each
// would count as another one, which has lost what it had. root is that of the account's API.
func (s *Server) keepCreated(root string, user func() (userJWT, seed string, err error)) error {
	nc, err := nats.Connect(InProcess, append(s.inProcess(user), nats.NoReconnect())...)
	if err != nil {
		return err
	}
	defer nc.Close()
	a := api{nc, root}
	var errs []error
	err = a.pages("STREAM.LIST", func(l list) int {
		for _, stream := range l.Streams {
			if err := a.keepStream(stream.Config.name(), stream.Config); err != nil {
				errs = append(errs, fmt.Errorf("stream %s: %w", stream.Config.name(), err))
			}
		}
		return len(l.Streams)
	})
	return errors.Join(append(errs, err)...)
}

func (a api) keepStream(stream string, cfg config) error {
	if _, err := a.ask("STREAM.UPDATE."+stream, cfg); err != nil {
		return err
	}
	var errs []error
	err := a.pages("CONSUMER.LIST."+stream, func(l list) int {
		for _, c := range l.Consumers {
			if _, err := a.ask("CONSUMER.CREATE."+stream+"."+c.Config.name(), map[string]any{"stream_name": stream, "config": c.Config, "action": "update"}); err != nil {
				errs = append(errs, fmt.Errorf("consumer %s: %w", c.Config.name(), err))
			}
		}
		return len(l.Consumers)
	})
	return errors.Join(append(errs, err)...)
}

// api is JetStream's API. It keeps every member of a configuration.
type api struct {
	nc   *nats.Conn
	root string
}

type config map[string]json.RawMessage

func (c config) name() (name string) {
	_ = json.Unmarshal(c["name"], &name) // the server has written it
	return name
}

// list is a page of streams or consumers.
type list struct {
	Streams, Consumers []struct {
		Config config `json:"config"`
	}
	Error *nats.APIError `json:"error"`
}

// pages asks for each page of a list and calls f, which returns its length.
func (a api) pages(subject string, f func(list) int) error {
	for offset := 0; ; {
		l, err := a.ask(subject, map[string]int{"offset": offset})
		if err != nil {
			return err
		}
		n := f(l)
		if n == 0 {
			return nil
		}
		offset += n
	}
}

func (a api) ask(subject string, body any) (answer list, err error) {
	data, err := json.Marshal(body)
	if err != nil {
		return answer, err
	}
	reply, err := a.nc.Request(a.root+subject, data, createdTime)
	if err == nil {
		err = json.Unmarshal(reply.Data, &answer)
	}
	if err == nil && answer.Error != nil {
		err = errors.New(answer.Error.Description)
	}
	return answer, err
}
