package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/tidemark-engine/tidemark/domain"
)

// batchRows is the number of rows that one statement reads.
const batchRows = 200

// row is one waiting command.
type row struct {
	id                           int64
	commandID                    string
	subject                      string
	body                         *string // nil = longer than BodyBytes
	bodyBytes                    int
	created                      *time.Time // nil = before 1970 or ahead of the database's clock
	role                         string     // that inserted the row
	own                          bool       // it is the engine's
	aggregate, aggregateID, verb string     // parsed from subject
	refusal                      error      // of a subject that is not a command's
}

// root is the subject without the verb, as rootOf computes it.
func (r *row) root() string { return r.subject[:strings.LastIndexByte(r.subject, '.')+1] }

// selectWaiting reads whatever an application can write: texts of any length, a
// date that no time.Time holds. It returns the rows in the order of their commits
// where the server records it (track_commit_timestamp), else of their ids. A row
// that was attempted before comes first: the commit of its attempt is the relay's.
const (
	rootOf     = `left(regexp_replace(left(subject, 2048), '[^.]*$', ''), 2048)`
	rowColumns = `
	SELECT id, left(command_id, 256), left(subject, 2048),
		CASE WHEN coalesce(octet_length(body), 0) <= $1 THEN coalesce(body, '') END, coalesce(octet_length(body), 0),
		CASE WHEN created_at BETWEEN '1970-01-01' AND now() THEN created_at END,
		inserted_by, inserted_by = current_user`
	selectWaiting = rowColumns + `
	FROM (SELECT *, %s AS committed FROM agents.outbox
		WHERE done_at IS NULL AND id >= $2 AND NOT ` + rootOf + ` = ANY ($4) ORDER BY id LIMIT $3) AS waiting
	ORDER BY committed NULLS FIRST, id`
)

// readWaiting reads the waiting rows from an id on, without those of some roots.
func (r *relay) readWaiting(ctx context.Context, from int64, without []string) ([]row, error) {
	return r.readRows(ctx, selectWaiting, from, batchRows, without)
}

// readRows reads the rows of a statement, in which %s is the time of a commit and $1 the bytes of
// a body that are read.
func (r *relay) readRows(ctx context.Context, statement string, args ...any) ([]row, error) {
	committed := `NULL::timestamptz`
	if r.commitTimes {
		committed = `CASE WHEN attempts = 0 THEN pg_xact_commit_timestamp(xmin) END`
	}
	got, err := r.DB.Pool().Query(ctx, fmt.Sprintf(statement, committed), append([]any{r.BodyBytes}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	rows, err := pgx.CollectRows(got, func(c pgx.CollectableRow) (w row, err error) {
		return w, c.Scan(&w.id, &w.commandID, &w.subject, &w.body, &w.bodyBytes, &w.created, &w.role, &w.own)
	})
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	return rows, nil
}

// result is the outcome of a row: a receipt or {"error":{…}}. A row that is not
// done is executed again.
type result struct {
	id      int64
	done    bool
	outcome string
}

const markOutbox = `
	UPDATE agents.outbox o SET attempts = least(attempts, 2147483646) + 1,
		done_at = CASE WHEN b.done THEN now() END, outcome = b.outcome::jsonb
	FROM unnest($1::bigint[], $2::boolean[], $3::text[]) AS b (id, done, outcome)
	WHERE o.id = b.id AND o.done_at IS NULL`

// mark stores the outcomes of rows. It does not stop with the relay, so that
// executed commands are marked.
func (r *relay) mark(results []result) error {
	if len(results) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ids, done, outcomes := make([]int64, len(results)), make([]bool, len(results)), make([]string, len(results))
	for i, r := range results {
		ids[i], done[i], outcomes[i] = r.id, r.done, r.outcome
	}
	// gofail: var outboxMark struct{}
	// return context.DeadlineExceeded
	if _, err := r.DB.Pool().Exec(ctx, markOutbox, ids, done, outcomes); err != nil {
		return fmt.Errorf("mark executed commands in the outbox: %w", err)
	}
	// gofail: var outboxMarked struct{}
	// return context.DeadlineExceeded
	return nil
}

// rejected returns the result of an error, which is final unless the error is
// temporary. A defect of the engine is logged with the trace id that the row receives.
func (o *Outbox) rejected(id int64, err error) result {
	var e *domain.Error
	if !errors.As(err, &e) {
		e = domain.Errorf(domain.Internal, "internal", "internal error: the engine's log has the cause under this trace id")
	}
	if e.Kind == domain.Internal && e.Details["trace_id"] == nil {
		trace := ulid.Make().String()
		o.Log.Error("internal error", "trace_id", trace, "outbox_row", id, "error", err)
		e = e.With("trace_id", trace)
	}
	return result{id: id, done: !e.Undecided(), outcome: withoutNUL.Replace(string(e.Encode()))}
}

// withoutNUL replaces the character that jsonb does not have; an escaped backslash
// before u0000 is text.
var withoutNUL = strings.NewReplacer(`\\`, `\\`, `\u0000`, `\ufffd`)
