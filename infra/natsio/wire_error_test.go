package natsio_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// TestDefectsHaveATraceID: every 500 is in the log under the trace id that the client gets.
func TestDefectsHaveATraceID(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code string
	}{
		"an error of Go": {errors.New("a secret"), "internal"},
		"a known defect": {domain.Errorf(domain.Internal, "event.encode", "no JSON"), "event.encode"},
	} {
		var log bytes.Buffer
		encoded := natsio.EncodeError(c.err, slog.New(slog.NewTextHandler(&log, nil)))
		var body struct {
			Error struct {
				Code    string
				Status  int
				Details struct {
					TraceID string `json:"trace_id"`
				}
			}
		}
		if err := json.Unmarshal(encoded.Body, &body); err != nil {
			t.Fatal(err)
		}
		if id := body.Error.Details.TraceID; id == "" || !strings.Contains(log.String(), id) || body.Error.Code != c.code || body.Error.Status != 500 {
			t.Errorf("%s: %s, and the log has %s", name, encoded.Body, log.String())
		}
		if bytes.Contains(encoded.Body, []byte("secret")) {
			t.Errorf("%s: %s", name, encoded.Body)
		}
	}
	var log bytes.Buffer
	if encoded := natsio.EncodeError(domain.Errorf(domain.Invalid, "key.invalid", "no key"), slog.New(slog.NewTextHandler(&log, nil))); log.Len() > 0 || bytes.Contains(encoded.Body, []byte("trace_id")) {
		t.Errorf("a refusal: %s, and the log has %s", encoded.Body, log.String())
	}
}
