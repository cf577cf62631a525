package events

import "github.com/go-json-experiment/json/jsontext"

// Types of the events of a claim.
const (
	ClaimAcquired = "claim.acquired"
	ClaimRenewed  = "claim.renewed"
	ClaimReleased = "claim.released"
	ClaimExpired  = "claim.expired" // the lease has run out
	ClaimErased   = "claim.erased"  // the content is gone with the agent that held it
)

// Claim is the name of a claim.
func Claim(id string) AggregateName { return AggregateName("claim." + id) }

// ClaimHold is the data of ClaimAcquired.
type ClaimHold struct {
	Owner   string         `json:"owner"`
	LeaseMS int64          `json:"lease_ms,omitzero"` // 0 = held until it is released
	Data    jsontext.Value `json:"data,omitzero"`
	Fence   uint64         `json:"fence"` // the version of this event
	Request string         `json:"request"`
}

// ClaimRenewal is the data of ClaimRenewed.
type ClaimRenewal struct {
	LeaseMS int64          `json:"lease_ms,omitzero"` // from now on; 0 = held until it is released
	Data    jsontext.Value `json:"data,omitzero"`     // empty = as before
	Request string         `json:"request"`
}

// ClaimEnd is the data of ClaimReleased and ClaimExpired.
type ClaimEnd struct {
	TakenBy string `json:"taken_by,omitzero"` // the owner whose command has found the lease run out; it acquires with the next event
	Request string `json:"request"`
}
