-- +goose Up

-- Documents: aggregates whose state is one JSON object. state_text is that object
-- as the events contain it; the other columns are for SQL queries.
CREATE TABLE agents.tasks (
    task_id     text        PRIMARY KEY COLLATE "C",
    status      text        NOT NULL,
    kind        text        NOT NULL,
    agent_id    text COLLATE "C",
    priority    integer,
    deadline    timestamptz,
    attempts    integer     NOT NULL,
    percent     double precision,
    payload     jsonb,
    result      jsonb,
    reason      text,
    detail      text,
    created_at  timestamptz,
    started_at  timestamptz,
    finished_at timestamptz,
    state_text  text        NOT NULL,
    version     bigint      NOT NULL,
    revision    bigint      NOT NULL,
    updated_at  timestamptz NOT NULL,
    digest      text        NOT NULL
);
CREATE INDEX tasks_by_status ON agents.tasks (status, task_id);
CREATE INDEX tasks_by_agent ON agents.tasks (agent_id, task_id);

CREATE TABLE agents.sessions (
    session_id  text        PRIMARY KEY COLLATE "C",
    status      text        NOT NULL,
    owner       text        NOT NULL,
    data        jsonb,
    ttl_seconds bigint      NOT NULL,
    opened_at   timestamptz,
    expires_at  timestamptz,
    ended_at    timestamptz,
    state_text  text        NOT NULL,
    version     bigint      NOT NULL,
    revision    bigint      NOT NULL,
    updated_at  timestamptz NOT NULL,
    digest      text        NOT NULL
);
CREATE INDEX sessions_by_expiry ON agents.sessions (expires_at) WHERE status = 'open';

CREATE TABLE agents.lifecycle (
    agent_id    text        PRIMARY KEY COLLATE "C",
    phase       text        NOT NULL,
    since       timestamptz NOT NULL,
    state_text  text        NOT NULL,
    version     bigint      NOT NULL,
    revision    bigint      NOT NULL,
    updated_at  timestamptz NOT NULL,
    digest      text        NOT NULL
);
CREATE INDEX lifecycle_by_phase ON agents.lifecycle (phase, agent_id);

-- Configuration: one row per existing entry; state_text is the value as sent.
CREATE TABLE agents.config (
    agent_id     text        NOT NULL COLLATE "C",
    config_key   text        NOT NULL COLLATE "C",
    config_value jsonb       NOT NULL,
    state_text   text        NOT NULL,
    version      bigint      NOT NULL,
    revision     bigint      NOT NULL,
    updated_at   timestamptz NOT NULL,
    digest       text        NOT NULL,
    PRIMARY KEY (agent_id, config_key)
);

-- Messages between agents; sequence is the sequence in the stream AGENT_MESSAGES.
CREATE TABLE agents.messages (
    message_id  text        PRIMARY KEY COLLATE "C",
    kind        text        NOT NULL CHECK (kind IN ('direct', 'broadcast', 'notification')),
    sender      text        NOT NULL COLLATE "C",
    recipient   text COLLATE "C",
    type        text,
    body        jsonb       NOT NULL,
    body_text   text        NOT NULL,
    sequence    bigint      NOT NULL,
    sent_at     timestamptz NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX messages_inbox ON agents.messages (recipient, sent_at DESC, message_id) WHERE kind = 'direct';
CREATE INDEX messages_others ON agents.messages (sent_at DESC, message_id) WHERE kind <> 'direct';

-- Commands that an application writes in its own transaction; the engine
-- executes each once and records the outcome.
CREATE TABLE agents.outbox (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    command_id  text        NOT NULL,
    subject     text        NOT NULL,
    body        jsonb       NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    done_at     timestamptz,
    attempts    integer     NOT NULL DEFAULT 0,
    outcome     jsonb,
    UNIQUE (command_id, subject)
);
CREATE INDEX outbox_waiting ON agents.outbox (id) WHERE done_at IS NULL;

-- Events that a view could not fold, and commands that could not be executed.
CREATE TABLE agents.dead_letters (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source      text        NOT NULL,
    subject     text        NOT NULL,
    partition   integer,
    revision    bigint,
    reason      text        NOT NULL,
    body        text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (source, partition, revision)
);

-- +goose Down
DROP TABLE agents.dead_letters, agents.outbox, agents.messages, agents.config,
    agents.lifecycle, agents.sessions, agents.tasks;
