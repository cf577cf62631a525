-- +goose Up
CREATE INDEX sessions_by_owner ON agents.sessions (owner, session_id);

-- +goose Down
DROP INDEX agents.sessions_by_owner;
