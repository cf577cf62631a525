-- +goose Up

-- The newest conflicts of all agents, for people.
CREATE INDEX conflicts_by_time ON agents.conflicts (recorded_at DESC, agent_id, state_key, version);

-- +goose Down
DROP INDEX agents.conflicts_by_time;
