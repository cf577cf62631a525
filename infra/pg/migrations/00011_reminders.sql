-- +goose Up

-- Reminders: state_text is the state as the events contain it; missed counts the due
-- times without a firing of their own, outcome is that of the last firing.
CREATE TABLE agents.reminders (
    reminder_id text        PRIMARY KEY COLLATE "C",
    status      text        NOT NULL,
    agent_id    text COLLATE "C",
    subject     text        NOT NULL,
    next_at     timestamptz,
    fired       bigint      NOT NULL,
    missed      bigint      NOT NULL,
    outcome     text,
    set_at      timestamptz,
    ended_at    timestamptz,
    state_text  text        NOT NULL,
    version     bigint      NOT NULL,
    revision    bigint      NOT NULL,
    updated_at  timestamptz NOT NULL,
    digest      text        NOT NULL
);
CREATE INDEX reminders_by_time ON agents.reminders (next_at) WHERE status = 'active';
CREATE INDEX reminders_by_agent ON agents.reminders (agent_id, reminder_id);

-- +goose Down
DROP TABLE agents.reminders;
