package commands

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/task"
	"github.com/tidemark-engine/tidemark/events"
)

// Bounds of leases and retries.
const (
	defaultLeaseMS  = 30_000
	maxLeaseMS      = 24 * 60 * 60 * 1000
	maxBackoffMS    = 7 * 24 * 60 * 60 * 1000
	maxTaskAttempts = 10_000
)

// checkMillis refuses a duration that is out of its bounds.
func checkMillis(code, name string, ms, least, most int64) error {
	if ms < least || ms > most {
		return domain.Errorf(domain.Invalid, code, "%s must be %d to %d milliseconds, this is %d", name, least, most, ms)
	}
	return nil
}

// holderBody is who the sender believes holds the task.
type holderBody struct {
	AgentID *string `json:"agent_id"`
	Fence   *uint64 `json:"fence"`
}

// parts are those of the fingerprint: the holder is one only if it is given, as older
// builds have fingerprints without.
func (h *holderBody) parts(all ...string) []string {
	if h.AgentID != nil {
		all = append(all, "agent_id", *h.AgentID)
	}
	if h.Fence != nil {
		all = append(all, "fence", strconv.FormatUint(*h.Fence, 10))
	}
	return all
}

func (h *holderBody) command(id, typ string, data any, request request) (Command, error) {
	c := task.Command{ID: id, Type: typ, Data: data, Fence: h.Fence}
	if h.AgentID != nil {
		c.Holder = *h.AgentID
		if err := domain.CheckAgentID(c.Holder); err != nil {
			return Command{}, err
		}
	}
	return bindTask(c, request)
}

// claimBody is the part of a body that says who claims a task, and for how long.
type claimBody struct {
	AgentID *string `json:"agent_id"`
	LeaseMS *int64  `json:"lease_ms"`
}

// start is the data of the event; verb and more tell requests apart. A lease of the default
// length that is given is another request than one that is left out.
func (b *claimBody) start(verb string, more ...string) (d events.TaskStart, r request, err error) {
	if b.AgentID == nil {
		return d, r, domain.MissingField("agent_id")
	}
	d = events.TaskStart{AgentID: *b.AgentID, LeaseMS: defaultLeaseMS}
	if err := domain.CheckAgentID(d.AgentID); err != nil {
		return d, r, err
	}
	asked := "default"
	if b.LeaseMS != nil {
		d.LeaseMS = *b.LeaseMS
		asked = "lease_ms"
	}
	parts := append([]string{verb, d.AgentID, strconv.FormatInt(d.LeaseMS, 10)}, more...)
	r.earlier[0] = fingerprint(parts...)
	r.print = fingerprint(append(parts, asked)...)
	d.Request = r.print
	return d, r, checkMillis("lease_ms.invalid", "lease_ms", d.LeaseMS, 1, maxLeaseMS)
}

func claimTaskCommand(id string, d events.TaskStart, r request) (Command, error) {
	return bindTask(task.Command{ID: id, Type: events.TaskStarted, Data: d, Who: d.AgentID, Claim: true}, r)
}

func readTaskClaim(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in claimBody
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	d, r, err := in.start("claim")
	if err != nil {
		return Command{}, err
	}
	return claimTaskCommand(id, d, r)
}

// readTaskNext reads the claim of a task that the engine has chosen. Its body is that of
// tasks.next.
func readTaskNext(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	next, err := ReadNext(body)
	if err != nil {
		return Command{}, err
	}
	cmd, err := claimTaskCommand(id, next.start, next.request)
	cmd.next = true
	return cmd, err
}

// readTaskExpire reads the end of the lease with a fence.
func readTaskExpire(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		Fence *uint64 `json:"fence"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	if in.Fence == nil {
		return Command{}, domain.MissingField("fence")
	}
	d := events.TaskLeaseExpire{Request: fingerprint("expire", strconv.FormatUint(*in.Fence, 10))}
	return bindTask(task.Command{ID: id, Type: events.TaskLeaseExpired, Data: d, Fence: in.Fence}, request{print: d.Request})
}

// taskEffect is the effect of a command on a task. Of a command with two events the
// version and revision are those of the second one, whichever of them is found.
func taskEffect(rec *events.Record) (effect, error) {
	e, err := acceptedEffect(rec)
	if err != nil {
		return e, err
	}
	var d events.Followed
	if err = json.Unmarshal(rec.Data, &d); err == nil && d.Followed {
		e.version, e.revision = e.version+1, e.revision+1
	}
	return e, err
}
