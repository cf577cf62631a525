package deployment

import (
	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
	"github.com/tidemark-engine/tidemark/infra/pg"
	"github.com/tidemark-engine/tidemark/internal/readiness"
	"github.com/tidemark-engine/tidemark/projections"
	"github.com/tidemark-engine/tidemark/projections/verify"
)

// Status is the answer to queries.engine.status and the output of engine status
// --json (contract, section 7): what a client needs to connect, and the state of
// every view.
type Status struct {
	Version    string               `json:"version"`
	UptimeS    float64              `json:"uptime_seconds"`
	Ready      bool                 `json:"ready"`
	Reasons    []string             `json:"reasons"`            // what is wrong, the worst first; some of it does not prevent commands
	Problems   []readiness.Problem  `json:"problems,omitempty"` // the same with component, level and time
	Storage    StorageStatus        `json:"storage"`
	NATS       NATSStatus           `json:"nats"`
	Postgres   PostgresStatus       `json:"postgres"`
	HTTP       string               `json:"http"`
	TLS        *TLSStatus           `json:"tls,omitempty"`  // nil: the listeners have no TLS
	Data       string               `json:"data,omitempty"` // absolute path of the data directory on the engine's machine
	Durability string               `json:"durability"`
	Detail     string               `json:"durability_detail"`
	Journal    JournalStatus        `json:"journal"`
	Views      []projections.Status `json:"views"`
	InFlight   int64                `json:"commands_in_flight"`
	Prefix     string               `json:"subject_prefix,omitempty"`
	Topology   *TopologyStatus      `json:"topology,omitempty"`
	Audit      *verify.AuditStatus  `json:"audit,omitempty"` // nil: the engine runs no audit
	Token      string               `json:"token,omitempty"` // of the journal's heads; empty: they cannot be read
}

// TLSStatus is the certificate of the engine's listeners.
type TLSStatus struct {
	Expires string `json:"expires_at"`
	Clients bool   `json:"client_certificates"` // clients need one
	Reason  string `json:"reason,omitempty"`    // why the files cannot be used; the certificate before stays in use
}

// NATSStatus is the server that the engine runs on.
type NATSStatus struct {
	URL     string `json:"url"`
	Mode    string `json:"mode"`  // embedded, external
	State   string `json:"state"` // up, away
	Version string `json:"version,omitempty"`
	// Accounts says where the accounts of principals are: auth.ConfigFile or
	// auth.OperatorMode of an external server with --auth on, else empty.
	Accounts auth.Mode `json:"accounts,omitempty"`
}

// Embedded reports whether the engine runs its own NATS server.
func (s *NATSStatus) Embedded() bool { return s.Mode == "embedded" }

// PostgresStatus is the database that the engine runs on.
type PostgresStatus struct {
	URL     string `json:"url,omitempty"` // with a password only for the managed database
	Mode    string `json:"mode"`          // managed, external, off
	State   string `json:"state"`         // up, away, off
	Reason  string `json:"reason,omitempty"`
	Warning string `json:"warning,omitempty"` // what the way to an external one lets others do
	Version string `json:"version,omitempty"`
	Schema  string `json:"schema,omitempty"` // of the engine's tables
}

// Place says what the database is to the engine, and which schema is the engine's if it
// is not agents.
func (s *PostgresStatus) Place() string {
	if s.Schema == "" || s.Schema == string(pg.Live) {
		return s.Mode
	}
	return s.Mode + ", schema " + s.Schema
}

// JournalStatus is the journal and this engine's work on it.
type JournalStatus struct {
	Incarnation string   `json:"incarnation"`
	Partitions  int      `json:"partitions"`
	Replicas    int      `json:"replicas"`
	Heads       []uint64 `json:"heads"` // by partition
	Conflicts   int64    `json:"conflicts"`
	Replays     int64    `json:"replays"`
}

// StorageStatus is the room for the journal in bytes: the JetStream files and the
// file system of an embedded server, or the account on an external one.
type StorageStatus struct {
	Used    uint64 `json:"used"`
	Limit   uint64 `json:"limit"`             // 0 = none that the server names
	Free    uint64 `json:"free,omitempty"`    // of the file system
	Reserve uint64 `json:"reserve,omitempty"` // commands are refused below this much free space
}

// TopologyStatus compares the server with the topology document.
type TopologyStatus struct {
	File    string   `json:"file"`   // "default" is the built-in document
	Things  int      `json:"things"` // streams, buckets and consumers in the document
	Drift   int      `json:"drift"`
	Drifted []string `json:"drifted,omitempty"` // one line each
	Checked string   `json:"checked_at,omitempty"`
	// Engine has one line for each of the engine's own streams that is missing, cannot be
	// read, or has too few replicas.
	Engine []string `json:"engine,omitempty"`
	Reason string   `json:"reason,omitempty"` // why the last check failed
}
