package commands

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/claim"
	"github.com/tidemark-engine/tidemark/events"
)

// maxLease is the longest lease of a claim, in milliseconds: 365 days.
const maxLease = 365 * 24 * 3600 * 1000

// claimCommand binds a verb to its claim. A sender that is restricted to its own
// agents may name only those as the owner, also where another owner holds the claim.
func claimCommand(c claim.Command, request request) (Command, error) {
	c.Request = request.print
	cmd := bind("claim", c.ID, "", events.Claim(c.ID), request, claimFold, c, claim.Decide)
	cmd.holder, cmd.creates, cmd.effect = c.Owner, true, claimEffect
	return cmd, domain.CheckID("claim id", c.ID)
}

// claimEffect is the effect of a command on a claim. An acquisition that has found the
// lease run out has two events in one append, of which the second is its result.
func claimEffect(rec *events.Record) (effect, error) {
	e, err := acceptedEffect(rec)
	if err == nil && rec.Type == events.ClaimExpired {
		var d events.ClaimEnd
		if err = json.Unmarshal(rec.Data, &d); d.TakenBy != "" {
			e.version, e.revision = e.version+1, e.revision+1
		}
	}
	return e, err
}

func readClaimAcquire(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in struct {
		Owner   *string        `json:"owner"`
		LeaseMS *int64         `json:"lease_ms"`
		Data    jsontext.Value `json:"data"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	owner, lease, err := readOwner(in.Owner, in.LeaseMS)
	if err != nil {
		return Command{}, err
	}
	if err := b.checkSize("data", in.Data); err != nil {
		return Command{}, err
	}
	request := requestOf(in.Data, func(data string) string { return fingerprint("acquire", owner, lease, data) })
	return claimCommand(claim.Command{ID: id, Type: events.ClaimAcquired, Owner: owner, LeaseMS: in.LeaseMS, Data: in.Data}, request)
}

func readClaimRenew(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		Owner   *string `json:"owner"`
		Fence   *uint64 `json:"fence"`
		LeaseMS *int64  `json:"lease_ms"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	owner, lease, err := readOwner(in.Owner, in.LeaseMS)
	if err != nil {
		return Command{}, err
	}
	if in.Fence == nil {
		return Command{}, domain.MissingField("fence")
	}
	print := fingerprint("renew", owner, strconv.FormatUint(*in.Fence, 10), lease)
	return claimCommand(claim.Command{ID: id, Type: events.ClaimRenewed, Owner: owner, Fence: *in.Fence, LeaseMS: in.LeaseMS}, request{print: print})
}

func readClaimRelease(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in struct {
		Owner *string `json:"owner"`
		Fence *uint64 `json:"fence"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	owner, _, err := readOwner(in.Owner, nil)
	if err != nil {
		return Command{}, err
	}
	if in.Fence == nil {
		return Command{}, domain.MissingField("fence")
	}
	print := fingerprint("release", owner, strconv.FormatUint(*in.Fence, 10))
	return claimCommand(claim.Command{ID: id, Type: events.ClaimReleased, Owner: owner, Fence: *in.Fence}, request{print: print})
}

// readClaimExpire reads the engine's own verb, which ends a lease that has run out.
func readClaimExpire(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	if err := domain.DecodeBody(body, &struct{}{}); err != nil {
		return Command{}, err
	}
	return claimCommand(claim.Command{ID: id, Type: events.ClaimExpired}, request{print: fingerprint("expire")})
}

// readOwner checks the members that the verbs share; text is the lease as part of the
// fingerprint.
func readOwner(owner *string, lease *int64) (name, text string, err error) {
	if owner == nil {
		return "", "", domain.MissingField("owner")
	}
	if err := domain.CheckID("owner", *owner); err != nil {
		return "", "", err
	}
	if lease != nil {
		if *lease < 1 || *lease > maxLease {
			return "", "", domain.Errorf(domain.Invalid, "lease_ms.invalid",
				"lease_ms must be 1 to %d (365 days), this is %d; without it the claim is held until it is released", int64(maxLease), *lease)
		}
		text = strconv.FormatInt(*lease, 10)
	}
	return *owner, text, nil
}
