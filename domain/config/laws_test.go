package config_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain/config"
	"github.com/tidemark-engine/tidemark/domain/domaintest"
	"github.com/tidemark-engine/tidemark/events"
)

func TestLaws(t *testing.T) {
	domaintest.Aggregate[config.Entry, config.Write]{
		Evolve:  config.Evolve,
		Decide:  config.Decide,
		Command: draw,
		Version: func(e config.Entry) uint64 { return e.Version },
		Types:   []string{events.ConfigSet, events.ConfigUnset},
	}.Laws(t)
}

func draw(t *rapid.T) config.Write {
	w := config.Write{Agent: "a1", Key: "k", Request: "r", Unset: rapid.Bool().Draw(t, "unset")}
	if !w.Unset {
		w.Value = []byte(rapid.SampledFrom([]string{`null`, `1.50`, `{ "a" : [ "\u0041" ] }`}).Draw(t, "value"))
	}
	if rapid.Bool().Draw(t, "expecting") {
		expected := rapid.Uint64Range(0, 5).Draw(t, "expected version")
		w.ExpectedVersion = &expected
	}
	return w
}
