package client

import "time"

// CommandOption changes how one command is sent.
type CommandOption func(*commandOptions)

type commandOptions struct {
	id   string
	body map[string]any
}

// CommandID is the id of the command, instead of a new one: a [NewID] that the program
// has kept. The same id and command take effect once.
func CommandID(id string) CommandOption {
	return func(o *commandOptions) { o.id = id }
}

// ExpectedVersion lets the command take effect only at this version of the entry, 0 = it
// does not exist. Otherwise the error is an ErrConflict.
func ExpectedVersion(version uint64) CommandOption { return Field("expected_version", version) }

// Strategy names the conflict strategy of a Set or Delete: last_write_wins, timestamp or
// reject.
func Strategy(name string) CommandOption { return Field("strategy", name) }

// Timestamp is the time of a Set or Delete under the strategy timestamp.
func Timestamp(t time.Time) CommandOption {
	return Field("timestamp", t.UTC().Format(time.RFC3339Nano))
}

// Writer names who writes an entry.
func Writer(name string) CommandOption { return Field("writer", name) }

// Reason says why, for the history.
func Reason(text string) CommandOption { return Field("reason", text) }

// Bounds are the least and the greatest sum that an Add may reach; nil = none.
func Bounds(least, greatest any) CommandOption {
	return func(o *commandOptions) {
		if least != nil {
			o.body["min"] = least
		}
		if greatest != nil {
			o.body["max"] = greatest
		}
	}
}

// MaxItems is how many of the newest items an Append keeps.
func MaxItems(n int) CommandOption { return Field("max_items", n) }

// Field sets a field of the command's body by its name on the wire.
func Field(name string, value any) CommandOption {
	return func(o *commandOptions) { o.body[name] = value }
}

func (c *Client) command(options []CommandOption) commandOptions {
	o := commandOptions{body: map[string]any{}}
	for _, option := range options {
		option(&o)
	}
	if o.id == "" {
		o.id = NewID()
	}
	return o
}

// ReadOption changes how one read is answered.
type ReadOption func(map[string]any)

// Consistency chooses who answers: cached (default), hot, durable or strong.
func Consistency(name string) ReadOption { return func(b map[string]any) { b["consistency"] = name } }

// AtRevision reads the state after a revision of the aggregate's journal partition.
func AtRevision(revision uint64) ReadOption {
	return func(b map[string]any) { b["at_revision"] = revision }
}

// AtTime reads the state as it was at a time.
func AtTime(t time.Time) ReadOption {
	return func(b map[string]any) { b["at_time"] = t.UTC().Format(time.RFC3339Nano) }
}

// Token reads at least as new as a token, instead of what the client has seen.
func Token(token string) ReadOption { return func(b map[string]any) { b["token"] = token } }

// Where adds a field of the query's body by its name on the wire: a filter of a list.
func Where(name string, value any) ReadOption { return func(b map[string]any) { b[name] = value } }

func reading(options []ReadOption, body map[string]any) map[string]any {
	for _, o := range options {
		o(body)
	}
	return body
}
