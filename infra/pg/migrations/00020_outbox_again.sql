-- +goose Up

-- A command id may be in several rows, as it may be sent several times by every other door:
-- the rows are executed, and their outcomes are the first receipt again, or 409
-- command.id_reused. A unique constraint failed the application's transaction instead, and
-- made it wait for another one, a prepared one too, that had inserted the same id.
ALTER TABLE agents.outbox DROP CONSTRAINT IF EXISTS outbox_command_id_subject_key;
CREATE INDEX outbox_command ON agents.outbox (command_id);

-- +goose Down
DELETE FROM agents.outbox o USING agents.outbox first
    WHERE first.command_id = o.command_id AND first.subject = o.subject AND first.id < o.id;
DROP INDEX agents.outbox_command;
ALTER TABLE agents.outbox ADD CONSTRAINT outbox_command_id_subject_key UNIQUE (command_id, subject);
