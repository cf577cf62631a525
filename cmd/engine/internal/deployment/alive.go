package deployment

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/tidemark-engine/tidemark/internal/certs"
)

// Alive asks /healthz of the engine that serves the data directory, over its certificate if
// it has one. Its error is what the engine says, or ErrUnreachable.
func (t *Target) Alive(ctx context.Context) error {
	n, err := ReadNote(t.Data)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s has no engine.json: no engine serves this data directory", ErrUnreachable, t.Data)
		}
		return fmt.Errorf("%w: read the engine's address in %s: %w", ErrUnreachable, t.Data, err)
	}
	var trust *tls.Config
	if n.Fingerprint != "" {
		if trust, err = certs.Pinned(n.Fingerprint, "", ""); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.HTTP+"/healthz", nil)
	if err != nil {
		return err
	}
	request.Close = true
	response, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: trust}}).Do(request) // no proxy: it is this machine's
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10)) // the code says enough
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: the engine does not work: %s", ErrUnreachable, strings.TrimSpace(string(text)))
	}
	return nil
}
