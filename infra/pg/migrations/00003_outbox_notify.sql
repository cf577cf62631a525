-- +goose Up

-- The relay hears of new commands at once; it also looks every second, for a
-- notification reaches only who listens at that moment.
-- +goose StatementBegin
CREATE FUNCTION agents.outbox_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('agents_outbox', '');
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER outbox_written AFTER INSERT ON agents.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION agents.outbox_written();

-- Up to where the changes of a view have been told to the world; NULL = up to
-- its position.
ALTER TABLE agents.checkpoints ADD COLUMN notified bigint;

-- A message id is its sender's alone: one agent's must not hide another's.
ALTER TABLE agents.messages DROP CONSTRAINT messages_pkey, ADD PRIMARY KEY (sender, message_id);

-- +goose Down
ALTER TABLE agents.messages DROP CONSTRAINT messages_pkey, ADD PRIMARY KEY (message_id);
ALTER TABLE agents.checkpoints DROP COLUMN notified;
DROP TRIGGER outbox_written ON agents.outbox;
DROP FUNCTION agents.outbox_written();
