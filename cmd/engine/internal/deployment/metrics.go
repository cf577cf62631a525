package deployment

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// metricsTime bounds one reading of the metrics.
const metricsTime = 5 * time.Second

// Metrics opens the page /metrics of the engine at an address, as the status names it. It
// trusts the certificate of the engine that serves the data directory.
func (t *Target) Metrics(ctx context.Context, address string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	client := &http.Client{Timeout: metricsTime, Transport: &http.Transport{TLSClientConfig: t.tls}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close() // its content is of no use
		return nil, fmt.Errorf("HTTP status %d", resp.StatusCode)
	}
	return resp.Body, nil
}
