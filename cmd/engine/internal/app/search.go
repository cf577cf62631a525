package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/internal/wait"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// Search is the flag --search: alone or "on" = every key, else prefixes of keys joined by
// commas; "off" = no search.
type Search struct{ of *readmodel.Search }

// Of says which entries may be searched; nil = none.
func (s *Search) Of() *readmodel.Search { return s.of }

// IsBool lets the flag stand alone.
func (s *Search) IsBool() bool { return true }

// Decode implements kong.MapperValue.
func (s *Search) Decode(ctx *kong.DecodeContext) error {
	text := "on"
	switch next := ctx.Scan.Peek(); {
	case next.Type == kong.FlagValueToken, next.Type == kong.UntypedToken && !strings.HasPrefix(fmt.Sprint(next.Value), "-"):
		text = fmt.Sprint(ctx.Scan.Pop().Value)
	}
	return s.UnmarshalText([]byte(text))
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Search) UnmarshalText(text []byte) error {
	s.of = nil
	switch string(text) {
	case "on", "all", "*", "true":
		s.of = &readmodel.Search{}
		return nil
	case "off", "false", "":
		return nil
	}
	found := &readmodel.Search{}
	for prefix := range strings.SplitSeq(string(text), ",") {
		prefix = strings.TrimSpace(prefix)
		if domain.CheckKey(strings.TrimSuffix(prefix, ".")) != nil {
			return fmt.Errorf("%.64q is neither on, off nor a prefix of keys", prefix)
		}
		found.Prefixes = append(found.Prefixes, prefix)
	}
	s.of = found
	return nil
}

// startIndexes makes the indexes of a feature as its flag wants them, and tries again
// until that is done.
func startIndexes(log *slog.Logger, feature string, index func(context.Context) (changed []string, done bool, err error)) (stop func(context.Context)) {
	return inBackground(func(ctx context.Context) {
		pause, said := backoff.NewExponentialBackOff(), false
		for {
			began := time.Now()
			changed, done, err := index(ctx)
			if len(changed) > 0 {
				log.Info("indexes changed", "for", feature, "indexes", strings.Join(changed, ", "), "took", time.Since(began))
			}
			if done || ctx.Err() != nil {
				return
			}
			if err != nil && !said {
				said = true
				log.Warn("indexes are not complete, retrying: what needs them is slow until then", "for", feature, "error", err)
			}
			if wait.Sleep(ctx, pause.NextBackOff()) != nil {
				return
			}
		}
	})
}
