package servers

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
)

// DialClient opens a connection with the credentials of a principal, or without any as
// clients of development mode. It is not made again after it is lost: its principal may
// have lost its rights.
func (n *NATS) DialClient(name string, credentials []byte, access natsio.Access, closed func()) (*nats.Conn, error) {
	url, opts := n.URL, slices.Clone(n.access)
	if n.Embedded != nil {
		url, opts = embedded.InProcess, n.Embedded.ClientOptions()
	} else if credentials != nil { // in place of the engine's own
		url = deployment.WithoutUsers(url)
		transport := natsio.Access{TLSCA: access.TLSCA, TLSCert: access.TLSCert, TLSKey: access.TLSKey}
		var err error
		if opts, err = transport.Options(); err != nil {
			return nil, err
		}
	}
	if credentials != nil {
		who, err := natsio.Credentials(string(credentials))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", nats.ErrAuthorization, err)
		}
		opts = append(opts, who...)
	}
	opts = append(opts, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { closed() }))
	return natsio.Connect(url, "tidemark-"+name, slog.New(slog.DiscardHandler), opts...)
}
