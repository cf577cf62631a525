package gate

import (
	"encoding/json"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/internal/identity"
)

// streamInfo answers with a stream's configuration, and with its state for who may
// read the whole stream.
func (g *Gate) streamInfo(r *request, stream string) {
	var req struct {
		Deleted bool   `json:"deleted_details,omitempty"`
		Filter  string `json:"subjects_filter,omitempty"`
		Offset  int    `json:"offset,omitempty"`
	}
	if len(r.msg.Data) > 0 {
		if err := json.Unmarshal(r.msg.Data, &req); err != nil {
			r.refuse(400, "the request is not JSON")
			return
		}
	}
	all := r.access.All(stream)
	if !all && req.Filter != "" && !r.covers(stream, []string{req.Filter}) {
		r.forbidden(stream)
		return
	}
	if !all {
		req.Deleted = false
	}
	body, _ := json.Marshal(req) // plain values
	answer, err := g.ask("STREAM.INFO."+stream, body)
	if err != nil {
		r.unavailable(err)
		return
	}
	if r.dev || r.caller.Principal == identity.Operator {
		r.respond(&nats.Msg{Data: answer.Data})
		return
	}
	shown, ok := restricted(answer.Data, all, req.Filter != "")
	switch {
	case !ok && !all:
		r.forbidden(stream) // as for one that exists
	case !ok:
		r.respond(&nats.Msg{Data: answer.Data})
	default:
		r.respond(&nats.Msg{Data: shown})
	}
}

// restricted is what a principal sees of a stream: its configuration; the state only
// if it may read all, or the subjects that it has asked for and may read. It fails
// for what is no information about a stream.
func restricted(body []byte, all, filtered bool) (shown []byte, ok bool) {
	var info, config map[string]json.RawMessage
	if json.Unmarshal(body, &info) != nil || info["error"] != nil || json.Unmarshal(info["config"], &config) != nil {
		return nil, false
	}
	// What passes the gate loses the status line of a direct get, so that clients
	// must ask in the other way.
	config["allow_direct"] = json.RawMessage("false")
	info["config"], _ = json.Marshal(config) // it was JSON
	if !all {
		var state struct {
			Messages uint64            `json:"messages"`
			Bytes    int               `json:"bytes"`
			First    int               `json:"first_seq"`
			Last     int               `json:"last_seq"`
			Count    int               `json:"consumer_count"`
			Distinct int               `json:"num_subjects,omitempty"`
			Subjects map[string]uint64 `json:"subjects,omitempty"`
		}
		var full struct {
			Subjects map[string]uint64 `json:"subjects"`
		}
		if filtered && json.Unmarshal(info["state"], &full) == nil {
			state.Subjects, state.Distinct = full.Subjects, len(full.Subjects)
			for _, n := range full.Subjects {
				state.Messages += n
			}
		}
		info["state"], _ = json.Marshal(state) // numbers
		for _, member := range []string{"cluster", "alternates", "mirror", "sources"} {
			delete(info, member)
		}
	}
	shown, err := json.Marshal(info)
	return shown, err == nil
}

// streams answers STREAM.NAMES and STREAM.LIST: the engine's streams that the
// caller may read, and those of its own.
func (g *Gate) streams(r *request) {
	var req struct {
		Offset  int    `json:"offset"`
		Subject string `json:"subject,omitempty"`
	}
	if len(r.msg.Data) > 0 {
		if err := json.Unmarshal(r.msg.Data, &req); err != nil {
			r.refuse(400, "the request is not JSON")
			return
		}
	}
	list := r.tokens[1] == "LIST"
	found, err := streamPages(req.Subject, func(body []byte) (*nats.Msg, error) { return g.ask(r.api, body) })
	if err != nil {
		r.unavailable(err)
		return
	}
	found = r.visible(found, list)
	if r.dev {
		own, err := streamPages(req.Subject, g.askOwn(r.api))
		if err != nil {
			r.unavailable(err)
			return
		}
		found = append(found, own...)
	}
	total := len(found)
	found = found[min(max(req.Offset, 0), total):]
	found = found[:min(len(found), pageSize)]
	if found == nil {
		found = []json.RawMessage{}
	}
	body, err := json.Marshal(map[string]any{
		"type": "io.nats.jetstream.api.v1." + r.responseType(), "total": total, "offset": req.Offset, "limit": pageSize, "streams": found,
	})
	if err != nil {
		r.unavailable(err)
		return
	}
	r.respond(&nats.Msg{Data: body})
}

// streamPages asks for all pages of STREAM.NAMES or STREAM.LIST.
func streamPages(subject string, ask func(body []byte) (*nats.Msg, error)) (found []json.RawMessage, err error) {
	for {
		body, _ := json.Marshal(map[string]any{"offset": len(found), "subject": subject}) // plain values
		answer, err := ask(body)
		if err != nil {
			return nil, err
		}
		var page struct {
			Total   int               `json:"total"`
			Streams []json.RawMessage `json:"streams"`
		}
		if err := json.Unmarshal(answer.Data, &page); err != nil {
			return nil, err
		}
		found = append(found, page.Streams...)
		if len(page.Streams) == 0 || len(found) >= page.Total {
			return found, nil
		}
	}
}

// visible are the streams of the engine that the caller may know, as it may see them.
func (r *request) visible(streams []json.RawMessage, list bool) (shown []json.RawMessage) {
	for _, one := range streams {
		name := nameOf(one, list)
		all := r.access.All(name)
		if r.hidden(name) || !all && !r.access.Some(name) {
			continue
		}
		if list && !r.dev && r.caller.Principal != identity.Operator {
			var ok bool
			if one, ok = restricted(one, all, false); !ok {
				continue
			}
		}
		shown = append(shown, one)
	}
	return shown
}

// pageSize is how many streams one answer holds.
const pageSize = 256

func nameOf(s json.RawMessage, list bool) (name string) {
	if list {
		var info struct {
			Config struct {
				Name string `json:"name"`
			} `json:"config"`
		}
		_ = json.Unmarshal(s, &info) // no name
		return info.Config.Name
	}
	_ = json.Unmarshal(s, &name) // no name
	return name
}
