-- +goose Up

-- What agents have read. marks are microseconds since 1970, like stored_at.
CREATE TABLE agents.inboxes (
    agent_id    text        PRIMARY KEY COLLATE "C",
    read_up_to  timestamptz NOT NULL,
    marks       bigint[]    NOT NULL,
    state_text  text        NOT NULL,
    version     bigint      NOT NULL,
    revision    bigint      NOT NULL,
    updated_at  timestamptz NOT NULL,
    digest      text        NOT NULL
);

-- stored_at is where a message stands in every inbox: it rises from one transaction to
-- the next, and no two messages have the same, except those that were stored before this
-- migration in one transaction: they have one mark.
DROP INDEX agents.messages_stored;
CREATE INDEX messages_stored ON agents.messages (stored_at);
CREATE INDEX messages_unread ON agents.messages (recipient, stored_at) WHERE kind = 'direct';
CREATE INDEX messages_unread_others ON agents.messages (stored_at) WHERE kind <> 'direct';

-- Which task a command id of tasks.next has claimed.
CREATE INDEX tasks_by_start ON agents.tasks (started_at);

-- +goose Down
DROP INDEX agents.tasks_by_start;
DROP INDEX agents.messages_unread_others, agents.messages_unread, agents.messages_stored;
CREATE INDEX messages_stored ON agents.messages USING brin (stored_at);
DROP TABLE agents.inboxes;
