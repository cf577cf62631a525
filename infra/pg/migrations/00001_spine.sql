-- +goose Up
-- The position of each view in each partition, and the journal it refers to. A
-- view's transaction moves its checkpoint by compare-and-set and writes its rows.
CREATE TABLE agents.checkpoints (
    view        text        NOT NULL,
    partition   integer     NOT NULL,
    position    bigint      NOT NULL,
    incarnation text        NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (view, partition)
);

-- One row per existing state entry. state_text is the value as sent;
-- state_value is the same value as jsonb for SQL queries.
CREATE TABLE agents.state (
    agent_id    text        NOT NULL COLLATE "C",
    state_key   text        NOT NULL COLLATE "C",
    state_value jsonb       NOT NULL,
    state_text  text        NOT NULL,
    version     bigint      NOT NULL,
    revision    bigint      NOT NULL,
    writer      text        NOT NULL,
    timestamp   timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    expires_at  timestamptz,
    digest      text        NOT NULL,
    timestamp_ns smallint   NOT NULL DEFAULT 0,
    PRIMARY KEY (agent_id, state_key)
);
COMMENT ON COLUMN agents.state.timestamp_ns IS
    'nanoseconds of timestamp below the microsecond that timestamptz keeps';

-- Writes of state entries that lost a conflict.
CREATE TABLE agents.conflicts (
    agent_id         text        NOT NULL COLLATE "C",
    state_key        text        NOT NULL COLLATE "C",
    version          bigint      NOT NULL,
    revision         bigint      NOT NULL,
    kind             text        NOT NULL CHECK (kind IN ('superseded', 'rejected')),
    verb             text        NOT NULL,
    strategy         text        NOT NULL,
    reason           text,
    state_text       text,
    timestamp        timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL,
    writer           text        NOT NULL,
    command_id       text        NOT NULL,
    current_version  bigint      NOT NULL,
    current_revision bigint      NOT NULL,
    digest           text        NOT NULL,
    PRIMARY KEY (agent_id, state_key, version)
);

-- +goose Down
DROP TABLE agents.conflicts, agents.state, agents.checkpoints;
