package query

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
)

// Limits of a page and of waiting for a token.
const (
	defaultLimit = 100
	maxLimit     = 1000
	defaultWait  = 2 * time.Second
	maxWait      = 60 * time.Second
)

// request has the members of all queries; each query takes some of them.
type request struct {
	Key         *string `json:"key,omitzero"`
	Prefix      string  `json:"prefix,omitzero"`
	Limit       *int    `json:"limit,omitzero"`
	Cursor      string  `json:"cursor,omitzero"`
	Token       string  `json:"token,omitzero"`
	WaitMS      *int    `json:"wait_ms,omitzero"`
	Consistency string  `json:"consistency,omitzero"`
	AtRevision  *uint64 `json:"at_revision,omitzero"`
	AtTime      string  `json:"at_time,omitzero"`
	Losers      bool    `json:"losers,omitzero"`
	Phase       string  `json:"phase,omitzero"`
	Status      string  `json:"status,omitzero"`
	AgentID     string  `json:"agent_id,omitzero"`
	Owner       string  `json:"owner,omitzero"`
	Kind        string  `json:"kind,omitzero"`
	Broadcasts  *bool   `json:"broadcasts,omitzero"`
	Unread      bool    `json:"unread,omitzero"`
	MaxAgeMS    *int64  `json:"max_age_ms,omitzero"`
	Subject     string  `json:"subject,omitzero"`
	From        *uint64 `json:"from,omitzero"`
	Until       *uint64 `json:"until,omitzero"`
	Partition   *int    `json:"partition,omitzero"`

	AgentPrefix string         `json:"agent_prefix,omitzero"`
	KeyPrefix   string         `json:"key_prefix,omitzero"`
	Contains    jsontext.Value `json:"contains,omitzero"`
	Path        string         `json:"path,omitzero"`
	Text        string         `json:"text,omitzero"`

	Where jsontext.Value `json:"where,omitzero"`

	limit int // Limit, or its default
	span  span

	permission *permission
}

func readRequest(body []byte, fields string) (*request, error) {
	in := request{limit: defaultLimit}
	if in.decodeSimple(body, fields) {
		return &in, nil
	}
	in = request{limit: defaultLimit}
	if err := in.decode(body, fields); err != nil {
		return nil, err
	}
	if err := onlyFields(body, fields); err != nil {
		return nil, err
	}
	if in.Limit != nil {
		if in.limit = *in.Limit; in.limit < 1 || in.limit > maxLimit {
			return nil, domain.Errorf(domain.Invalid, "limit.invalid", "limit must be 1 to %d", maxLimit)
		}
	}
	if in.WaitMS != nil && (*in.WaitMS < 0 || int64(*in.WaitMS) > maxWait.Milliseconds()) {
		return nil, domain.Errorf(domain.Invalid, "wait_ms.invalid", "wait_ms must be 0 to %d", maxWait.Milliseconds())
	}
	if in.MaxAgeMS != nil && *in.MaxAgeMS < 0 {
		return nil, domain.Errorf(domain.Invalid, "max_age_ms.invalid", "max_age_ms must be 0 (never from the cache) or more")
	}
	if len(in.Prefix) > domain.MaxKey {
		return nil, domain.Errorf(domain.Invalid, "prefix.invalid", "prefix must have at most %d bytes", domain.MaxKey)
	}
	return &in, nil
}

// decodeSimple decodes the most common requests, plain strings only. It returns false when the
// body has anything else.
func (in *request) decodeSimple(body []byte, fields string) bool {
	return domain.PlainObject(body, func(name, value []byte) bool {
		if string(name) == "key" && in.Key == nil && len(value) > 0 && hasField(fields, "key") {
			key := string(value)
			in.Key = &key
			return true
		}
		var into *string
		switch string(name) {
		case "token":
			into = &in.Token
		case "consistency":
			into = &in.Consistency
		default:
			return false
		}
		if *into != "" || len(value) == 0 || !hasField(fields, string(name)) {
			return false
		}
		*into = string(value)
		return true
	})
}

// cursorAfter checks the cursor of a list by name, which is the last name seen.
func (in *request) cursorAfter(check func(string) error) error {
	if in.Cursor == "" || check(in.Cursor) == nil {
		return nil
	}
	return badCursor(in.Cursor)
}

func badCursor(cursor string) error {
	return domain.Errorf(domain.Invalid, "cursor.invalid", "%.64q is not a cursor of this query", cursor)
}
