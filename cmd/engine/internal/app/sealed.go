package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio/gate"
	"github.com/tidemark-engine/tidemark/infra/natsio/intake"
	"github.com/tidemark-engine/tidemark/infra/natsio/keystore"
	"github.com/tidemark-engine/tidemark/infra/natsio/principals"
)

// checkSealed fails for streams of the engine that another program has sealed, which no
// program can undo, and for a lost AUDIT, which the engine cannot make again. The journal
// and the key store have components of their own. Servers that do not answer are noticed
// elsewhere.
func (r *reconciler) checkSealed(ctx context.Context) ([]string, error) {
	js, err := jetstream.New(r.e.nats.First())
	if err != nil {
		return nil, err
	}
	var failed error
	audit := false
	list := js.ListStreams(ctx)
	for info := range list.Info() {
		name := info.Config.Name
		audit = audit || name == principals.StreamName
		own := strings.HasPrefix(name, "EVENTS") || name == keystore.StreamName
		if !info.Config.Sealed || own || !gate.Reserved(name) {
			continue
		}
		failed = errors.Join(failed, fmt.Errorf("the stream %s is sealed, which the server cannot undo: the engine can store nothing in it; %s", name, unseal(name)))
	}
	if list.Err() == nil && !audit { // a list may be incomplete
		if _, err := js.Stream(ctx, principals.StreamName); errors.Is(err, jetstream.ErrStreamNotFound) {
			failed = errors.Join(failed, fmt.Errorf("the stream %s is gone, with all principals: restore it from a backup before the engine restarts", principals.StreamName))
		}
	}
	return nil, failed
}

// unseal says what an operator does with a sealed stream.
func unseal(name string) string {
	switch name {
	case intake.CommandsStream, intake.OutcomesStream, intake.DeadLettersStream, principals.StreamName:
		return "back it up, remove it, and restore it with a configuration that is not sealed (nats stream backup, nats stream restore --config)"
	}
	return "remove it (nats stream rm " + name + "): the engine makes it again and fills it"
}
