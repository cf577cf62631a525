-- +goose Up

-- Up to when rows of a table were removed for their age: verify does not miss them.
CREATE TABLE agents.removed (
    table_name text        PRIMARY KEY COLLATE "C",
    up_to      timestamptz NOT NULL
);
-- What was removed before is not known.
INSERT INTO agents.removed VALUES ('agents.messages', now());

-- +goose Down
DROP TABLE agents.removed;
