package gate

import (
	"encoding/json"

	"github.com/nats-io/nats.go"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
)

// taskConsumer answers with the consumer of tasks, and makes the one of a
// principal: its configuration is that of task-processor.
func (g *Gate) taskConsumer(r *request) {
	name := r.consumerName(auth.TaskStream, auth.TaskConsumer)
	answer, err := g.ask("CONSUMER.INFO."+auth.TaskStream+"."+name, nil)
	if err != nil {
		r.unavailable(err)
		return
	}
	var got struct {
		Error *errorBody `json:"error"`
	}
	if json.Unmarshal(answer.Data, &got) == nil && got.Error != nil && got.Error.Code == 404 && !r.dev {
		if answer, err = g.makeTaskConsumer(r, name); err != nil {
			r.unavailable(err)
			return
		}
	}
	r.respond(&nats.Msg{Data: g.foreign(r, answer.Data)})
}

func (g *Gate) makeTaskConsumer(r *request, name string) (*nats.Msg, error) {
	model, err := g.ask("CONSUMER.INFO."+auth.TaskStream+"."+auth.TaskConsumer, nil)
	if err != nil {
		return nil, err
	}
	var is struct {
		Error  *errorBody                 `json:"error"`
		Config map[string]json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(model.Data, &is); err != nil || is.Error != nil {
		return model, err
	}
	for member, value := range map[string]any{
		"durable_name": name, "name": name, "metadata": map[string]string{ownerMeta: r.caller.Account},
		"inactive_threshold": int64(0), "deliver_policy": "new",
	} {
		is.Config[member], _ = json.Marshal(value) // plain values
	}
	if !r.access.All(auth.TaskStream) {
		body, err := json.Marshal(apiError{Type: "io.nats.jetstream.api.v1.consumer_info_response", Error: &errorBody{Code: 403, Description: "forbidden: there is no grant to pull tasks"}})
		return &nats.Msg{Data: body}, err
	}
	body, err := json.Marshal(map[string]any{"stream_name": auth.TaskStream, "config": is.Config})
	if err != nil {
		return nil, err
	}
	return g.ask("CONSUMER.CREATE."+auth.TaskStream+"."+name, body)
}
