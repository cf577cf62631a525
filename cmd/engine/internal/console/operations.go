package console

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/tidemark-engine/tidemark/client"
)

// Operations are what operators do that is not on the wire: the command line does the same
// from the data directory. Each method asks whether the caller may, and fails with [Forbidden]
// where not.
type Operations interface {
	// Conflicts are writes that lost, the newest first, of all agents or of one: those whose
	// entries the caller may read. next is the cursor of the next page; empty = there is none.
	Conflicts(ctx context.Context, who Caller, agent, cursor string, limit int) (some []Conflict, next string, err error)

	// DeadLetters are what could not be processed, oldest first, behind a sequence.
	DeadLetters(ctx context.Context, who Caller, after uint64, limit int) (DeadLetterPage, error)
	// DeadLetter is one of them.
	DeadLetter(ctx context.Context, who Caller, seq uint64) (DeadLetter, error)
	// Quarantined are aggregates that views have set aside, oldest first: at most limit, those
	// that were not retried for longest, and whether there are more.
	Quarantined(ctx context.Context, who Caller, limit int) (some []Quarantined, more bool, err error)
	// DryRun says what Settle would do with an id, or with "all" of both kinds.
	DryRun(ctx context.Context, who Caller, which string) (Affected, error)
	// Settle retries or drops the dead letter or quarantined aggregate with an id, or all.
	Settle(ctx context.Context, who Caller, which string, drop bool) ([]Settled, error)

	// NotRebuilt says why a view cannot be rebuilt by itself; empty = it can.
	NotRebuilt(view string) string
	// RebuildPlan says what a rebuild of a view would do.
	RebuildPlan(ctx context.Context, who Caller, view string) (RebuildPlan, error)
	// Rebuild and Verify begin; Jobs shows their progress and results. They fail while such a
	// job runs. The id is the command id of the form: the same one begins one job.
	Rebuild(ctx context.Context, who Caller, id, view string) error
	Verify(ctx context.Context, who Caller, id string) error
	// Jobs are the rebuilds and verifications of this engine, the newest first.
	Jobs(who Caller) []Job

	// Topology compares the streams, buckets and consumers of the server with the document. It
	// may be some seconds old.
	Topology(ctx context.Context, who Caller) (Topology, error)

	// Tables are what a statement can read.
	Tables(ctx context.Context, who Caller) ([]Table, error)
	// SQL runs one statement, which can only read.
	SQL(ctx context.Context, who Caller, statement string) (*Rows, error)
}

// operationPages are the pages of operators and workers by pattern.
func (c *Console) operationPages() map[string]page {
	return map[string]page{
		"/tasks":      c.tasks,
		"/tasks/{id}": c.task,
		"/conflicts":  c.conflicts,
		"/dlq":        c.deadLetters,
		"/views":      c.views,
		"/topology":   c.topology,
		"/sql":        c.sql,
	}
}

// operationActions are what these pages can do, by name.
var operationActions = map[string]action{
	"task.cancel":  cancelTask,
	"task.retry":   retryTask,
	"dlq.retry":    retryLetter,
	"dlq.drop":     dropLetter,
	"view.rebuild": rebuildView,
	"verify":       verifyAll,
}

// Caller is who asks: the account that the NATS server has admitted. Empty is development
// mode, or a login from which the account is not known.
type Caller struct{ Account string }

// Forbidden is the error for a missing grant.
func Forbidden(grant string) error {
	return &client.Error{Kind: "forbidden", Code: "forbidden", Status: http.StatusForbidden,
		Message: "You may not do that; the missing grant is \"" + grant + "\": ask the operator of the engine (engine auth grant)"}
}

// Unavailable is the error for what this engine has not, or cannot do now.
func Unavailable(code, text string) error {
	return &client.Error{Kind: "unavailable", Code: code, Status: http.StatusServiceUnavailable, Message: text}
}

// Rejected is the error for what a rule does not allow.
func Rejected(code, text string) error {
	return &client.Error{Kind: "rejected", Code: code, Status: http.StatusUnprocessableEntity, Message: text}
}

// Conflict is a write that lost.
type Conflict struct {
	Agent, Key      string
	Number          uint64 // of the conflict among those of its entry
	Kind            string // superseded, rejected
	Verb, Strategy  string
	Reason          string
	Value           json.RawMessage // that it would have written; nil = none
	At, RecordedAt  time.Time
	Writer          string
	CommandID       string
	AgainstVersion  uint64 // of the entry
	AgainstRevision uint64
	Partition       int
}

// DeadLetter is a message that could not be processed.
type DeadLetter struct {
	Seq       uint64
	At        time.Time
	Source    string
	Subject   string
	Reason    string
	CommandID string
	Stored    string // when it was stored first
	Body      []byte
}

// DeadLetterPage is a page of them.
type DeadLetterPage struct {
	Letters []DeadLetter
	More    bool
	Total   uint64
}

// Quarantined is an aggregate of which a view cannot apply events.
type Quarantined struct {
	ID        string // VIEW:AGGREGATE
	View      string
	Aggregate string
	Partition int
	Revision  uint64 // of the event that it cannot apply
	Waiting   int    // events
	Attempts  int
	Reason    string
	Since     time.Time
	Requested string // retry or drop, on its way
}

// Affected is what an action on dead letters and quarantined aggregates concerns.
type Affected struct {
	Letters    int // dead letters
	Events     int // in quarantine
	Aggregates int // of both
	Names      []string
}

// Settled is what became of one of them.
type Settled struct {
	ID     string `json:"id"`
	Result string `json:"result"`
	Detail string `json:"detail,omitempty"`
}

// RebuildPlan is what a rebuild would do.
type RebuildPlan struct {
	View   string
	Events uint64        // to fold
	Rate   float64       // events a second
	Takes  time.Duration // about
	Bytes  int64         // additional disk space; 0 = none
	Then   string
}

// Job is a rebuild or a verification.
type Job struct {
	ID      string
	Kind    string // rebuild, verify
	View    string // of a rebuild
	Actor   string // empty = development mode
	Began   time.Time
	Ended   time.Time // zero = it runs
	Step    string
	Events  uint64 // of the step
	Of      uint64 // 0 = not known
	Failed  string // why it failed
	OK      bool   // it ended well, and a verification has found no difference
	Summary []string
	Found   []Difference // of a verification, the first of them
	More    int          // further differences
}

// Difference is a row that is not as the journal says, or was not before a rebuild.
type Difference struct{ Where, Key, What string }

// Topology is the comparison with the topology document.
type Topology struct {
	File    string
	Things  []Thing
	Others  int      // streams that are neither in the document nor the engine's
	Checks  []string // warnings about the server
	Used    uint64   // bytes of files
	Memory  uint64   // bytes in memory
	Booked  uint64   // bytes of files that streams reserve
	BookedM uint64   // the same in memory
	Limit   int64    // of files; below 1 = none
	LimitM  int64
}

// Thing is a stream, a bucket or a consumer.
type Thing struct {
	Kind, Name string
	Own        bool   // the engine's own: not in the document
	State      string // match, drift, missing, refused
	Reason     string
	Drift      []Drift
	Wanted     []string // notes on values in force that are not as written
	Messages   uint64
	Bytes      uint64
	Reserved   int64 // bytes; below 1 = no limit
	Storage    string
	Replicas   int
	Consumers  int
	Stream     string // of a consumer
	Pending    uint64 // of a consumer
}

// Drift is one setting that differs.
type Drift struct{ Field, Wanted, Actual, Refused string }

// Table of the read model.
type Table struct {
	Name    string
	Rows    int64 // estimate
	Columns []SQLColumn
}

// SQLColumn is a column of a table or a result.
type SQLColumn struct{ Name, Type string }

// Rows are the result of a statement.
type Rows struct {
	Columns []SQLColumn
	Rows    [][]*string // nil = null
	More    bool
	Took    time.Duration
}
