package readmodel

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// DecodeKV decodes an entry of the hot bucket. Key and writer are not in the value.
func DecodeKV(body []byte) (Entry, error) {
	var w struct {
		Value     jsontext.Value `json:"value"`
		Timestamp time.Time      `json:"timestamp"`
		Agent     string         `json:"agent_id"`
		Version   uint64         `json:"version"`
		Revision  uint64         `json:"revision"`
		Digest    string         `json:"digest"`
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return Entry{}, fmt.Errorf("decode hot entry: %w", err)
	}
	if len(w.Value) == 0 || w.Revision == 0 {
		return Entry{}, fmt.Errorf("decode hot entry: value or revision is missing")
	}
	return Entry{
		Agent: w.Agent, Value: w.Value, Timestamp: w.Timestamp.UTC(),
		Version: w.Version, Revision: w.Revision, Digest: w.Digest,
	}, nil
}

// DecodeRevision decodes version, revision and digest from a value of any hot bucket.
func DecodeRevision(body []byte) (version, revision uint64, digest string, err error) {
	var w struct {
		Version  uint64 `json:"version"`
		Revision uint64 `json:"revision"`
		Digest   string `json:"digest"`
	}
	if err = json.Unmarshal(body, &w); err != nil {
		err = fmt.Errorf("decode hot document: %w", err)
	} else if w.Revision == 0 {
		err = fmt.Errorf("decode hot document: revision is missing")
	}
	return w.Version, w.Revision, w.Digest, err
}
