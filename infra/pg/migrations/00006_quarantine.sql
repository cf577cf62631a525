-- +goose Up

-- Every read of the durable tier checks whether an aggregate is quarantined.
-- Names compare byte by byte.
CREATE INDEX dead_letters_by_subject ON agents.dead_letters (source, subject COLLATE "C", revision);
COMMENT ON TABLE agents.dead_letters IS
    'Events that a view of SQL holds back, level with the view: source is "view <name>"; engine dlq retries and drops them';

-- +goose Down
DROP INDEX agents.dead_letters_by_subject;
