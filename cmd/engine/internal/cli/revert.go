package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/domain"
)

// Revert brings an entry, or all entries of an agent, back to an earlier state.
type Revert struct {
	deployment.Target
	Agent           string  `arg:"" help:"agent.<id>: the agent to revert."`
	Key             string  `help:"The entry to revert; default: all entries of the agent." placeholder:"KEY"`
	ToVersion       *uint64 `help:"Back to this version of the entry; needs --key." placeholder:"N"`
	ToRevision      *uint64 `help:"Back to the state at this revision of the journal; 0 = before the first event." placeholder:"REV"`
	ToTime          string  `help:"Back to the state at this time (RFC 3339)." placeholder:"TIME"`
	Reason          string  `help:"Text for the events." placeholder:"TEXT"`
	ExpectedVersion *uint64 `help:"Revert only if the entry has this version; needs --key." placeholder:"N"`
	ID              *string `help:"Command id; default: the engine makes one. Repeat an interrupted revert with the same id." placeholder:"ID"`
	DryRun          bool    `help:"Change nothing, show how the agent has changed since then: what the revert takes back."`
}

// Validate refuses what no engine accepts.
func (c *Revert) Validate() error {
	kind, id, _ := strings.Cut(c.Agent, ".")
	if kind != "agent" || domain.CheckAgentID(id) != nil {
		return fmt.Errorf("%q is not agent.<id>: only agents can be reverted", c.Agent)
	}
	points := 0
	for _, given := range []bool{c.ToVersion != nil, c.ToRevision != nil, c.ToTime != ""} {
		if given {
			points++
		}
	}
	if points != 1 {
		return errors.New("give one of --to-version, --to-revision and --to-time")
	}
	if p, err := parseInstant(c.ToTime); err != nil || c.ToTime != "" && p.name != "at_time" {
		return fmt.Errorf("--to-time: %q is not an RFC 3339 time", c.ToTime)
	}
	switch {
	case c.Key != "":
		if err := domain.CheckKey(c.Key); err != nil {
			return fmt.Errorf("--key: %w", err)
		}
	case c.ToVersion != nil:
		return errors.New("--to-version needs --key: each entry counts its own versions")
	case c.ExpectedVersion != nil:
		return errors.New("--expected-version needs --key: it is the version of one entry")
	}
	if c.DryRun && c.Key != "" {
		return errors.New("--dry-run is for all entries of an agent: use 'engine query queries.agent.<id>.get' for one")
	}
	return nil
}

// Run implements the command.
func (c *Revert) Run(ctx context.Context, out *Output) error {
	if c.DryRun {
		from := c.ToTime
		if c.ToRevision != nil {
			from = fmt.Sprint(*c.ToRevision)
		}
		d := Diff{Target: c.Target, Of: c.Agent, From: from}
		if err := d.Validate(); err != nil {
			return err
		}
		return d.Run(ctx, out)
	}
	body, err := encodeJSON(struct {
		Key             string  `json:"key,omitempty"`
		ToVersion       *uint64 `json:"to_version,omitempty"`
		ToRevision      *uint64 `json:"to_revision,omitempty"`
		ToTime          string  `json:"to_time,omitempty"`
		Reason          string  `json:"reason,omitempty"`
		ExpectedVersion *uint64 `json:"expected_version,omitempty"`
	}{c.Key, c.ToVersion, c.ToRevision, c.ToTime, c.Reason, c.ExpectedVersion})
	if err != nil {
		return err
	}
	if _, err = c.Find(); err != nil {
		return err
	}
	msg := nats.NewMsg(c.Subject("commands." + c.Agent + ".revert"))
	setID(msg, c.ID)
	return request(ctx, &c.Target, msg, string(body), instant{}, out)
}
