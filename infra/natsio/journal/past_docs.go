package journal

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/readmodel"
	"github.com/tidemark-engine/tidemark/readmodel/tiers"
)

var _ tiers.DocPast = Past{}

// docStream is the stream of a document.
func DocStream(kind, id, key string) events.Stream {
	switch kind {
	case readmodel.KindTask:
		return events.Task(id)
	case readmodel.KindSession:
		return events.Session(id)
	case readmodel.KindConfig:
		return events.Config(id, key)
	}
	return events.Lifecycle(id)
}

// LastDoc implements readmodel.DocPast, by the leader.
func (p Past) LastDoc(ctx context.Context, kind, id, key string) (d readmodel.Doc, found bool, revision uint64, err error) {
	rec, ok, err := p.Journal.Last(ctx, DocStream(kind, id, key), history.Linearizable)
	if err != nil || !ok {
		return d, false, 0, err
	}
	c, err := docOf(&rec)
	return c.Doc, err == nil && !c.Deleted, rec.Revision, err
}

// DocAsOf implements readmodel.DocPast.
func (p Past) DocAsOf(ctx context.Context, kind, id, key string, revision uint64, at time.Time) (d readmodel.Doc, found bool, err error) {
	rec, ok, err := p.asOf(ctx, DocStream(kind, id, key), moment{revision, at})
	if err != nil || !ok {
		return d, false, err
	}
	c, err := docOf(&rec)
	return c.Doc, err == nil && !c.Deleted, err
}

// ConfigAsOf implements readmodel.DocPast.
func (p Past) ConfigAsOf(ctx context.Context, agent string, keys []string, revision uint64, at time.Time) ([]readmodel.Doc, error) {
	streams := make([]events.Stream, len(keys))
	for i, key := range keys {
		streams[i] = events.Config(agent, key)
	}
	recs, err := p.lasts(ctx, events.Config(agent, ">"), streams, moment{revision, at})
	if err != nil {
		return nil, err
	}
	rows := make([]readmodel.Doc, 0, len(recs))
	for i := range recs {
		c, err := docOf(&recs[i])
		if err != nil {
			return nil, err
		}
		if !c.Deleted {
			rows = append(rows, c.Doc)
		}
	}
	return rows, nil
}

// DocHistory implements readmodel.DocPast.
func (p Past) DocHistory(ctx context.Context, kind, id, key string, below uint64, limit int) ([]readmodel.DocVersion, error) {
	recs, err := p.back(ctx, DocStream(kind, id, key), below, limit)
	if err != nil {
		return nil, err
	}
	rows := make([]readmodel.DocVersion, len(recs))
	for i := range recs {
		c, err := docOf(&recs[i])
		if err != nil {
			return nil, err
		}
		rows[i] = readmodel.DocVersion{
			Doc: c.Doc, Type: recs[i].Type, Writer: recs[i].Writer, CommandID: recs[i].CommandID, Deleted: c.Deleted,
		}
	}
	return rows, nil
}

// docOf is the document that an event of a document's stream results in.
func docOf(rec *events.Record) (readmodel.DocChange, error) {
	c, ok, err := readmodel.DocOf(rec)
	if err == nil && !ok {
		err = fmt.Errorf("%s at revision %d is of no document", rec.Type, rec.Revision)
	}
	return c, err
}

// ConfigKeys implements readmodel.DocPast.
func (p Past) ConfigKeys(ctx context.Context, agent, prefix, after string, limit int) ([]string, error) {
	return p.keys(ctx, agent, events.Config(agent, ">"), prefix, after, limit)
}

// Keys implements readmodel.Past.
func (p Past) Keys(ctx context.Context, agent, prefix, after string, limit int) ([]string, error) {
	return p.keys(ctx, agent, events.AgentStates(agent), prefix, after, limit)
}

// keys are what a pattern's last wildcard stands for, in order.
func (p Past) keys(ctx context.Context, agent string, pattern events.Stream, prefix, after string, limit int) ([]string, error) {
	filter := p.root + string(pattern)
	info, err := p.streams[p.Partition(agent)].Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("list the keys of %s: %w", agent, err)
	}
	root := strings.TrimSuffix(filter, ">")
	var keys []string
	for subject := range info.State.Subjects {
		if key := strings.TrimPrefix(subject, root); key > after && strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	return keys[:min(limit, len(keys))], nil
}

// Changed implements readmodel.DocPast: it reads what came after the revision,
// which is little while a view keeps up. Where that is everything, counting the
// subjects is enough.
func (p Past) Changed(ctx context.Context, agent string, after uint64) (int, error) {
	if after == 0 {
		keys, err := p.Keys(ctx, agent, "", "", int(^uint(0)>>1))
		return len(keys), err
	}
	keys := map[string]struct{}{}
	err := p.Scan(ctx, events.AgentStates(agent), after+1, func(rec events.Record) bool {
		keys[rec.Key] = struct{}{}
		return true
	})
	return len(keys), err
}
