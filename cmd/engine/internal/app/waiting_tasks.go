package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tidemark-engine/tidemark/commands/taskqueue"
	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/readmodel"
)

// waitingTasks yields the tasks that tasks.next needs to know.
type waitingTasks struct {
	history *history.History
	sql     *durable.View // nil without SQL
	log     *slog.Logger
}

const (
	// sqlTasksWait bounds the reading from SQL.
	sqlTasksWait = 5 * time.Second
	// maxTasksBehind is how many events SQL may be behind: beyond, all tasks are read.
	maxTasksBehind = 100_000
)

// each yields the waiting tasks of SQL and the tasks of all events after its position. Where
// SQL cannot say, it yields the last event of every task, those that have ended too.
func (w *waitingTasks) each(ctx context.Context, yield func(*events.Record)) error {
	if w.sql != nil {
		switch known, err := w.fromSQL(ctx, yield); {
		case known:
			return nil
		case err != nil && ctx.Err() == nil:
			w.log.Info("SQL does not say which tasks wait: the journal is read instead", "reason", err)
		}
	}
	return w.history.EachLast(ctx, "task.*", func(rec events.Record) { yield(&rec) })
}

func (w *waitingTasks) fromSQL(ctx context.Context, yield func(*events.Record)) (known bool, err error) {
	reading, cancel := context.WithTimeout(ctx, sqlTasksWait)
	defer cancel()
	positions, known, err := w.sql.WaitingTasks(reading, w.history.Incarnation(), w.history.Partitions(), time.Now().Add(-taskqueue.Remembered), func(d *readmodel.Doc) {
		yield(&events.Record{Event: events.Event{Aggregate: "task", ID: d.ID, State: d.State}, Revision: d.Revision})
	})
	if err != nil || !known {
		return false, err
	}
	for p, position := range positions {
		head, err := w.history.Head(ctx, p)
		if err == nil && (head < position || head-position > maxTasksBehind) {
			err = errors.New("it is too far from the end of the journal")
		}
		if err == nil {
			err = w.history.Between(ctx, p, position, head, func(m history.Message) error {
				if m.Bad == nil && m.Aggregate == "task" {
					yield(&m.Record)
				}
				return nil
			})
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}
