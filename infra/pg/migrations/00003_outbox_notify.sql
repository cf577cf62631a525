-- +goose Up

-- Notifies the relay of new commands at once. The relay also polls every second,
-- because a notification reaches only current listeners.
-- +goose StatementBegin
CREATE FUNCTION agents.outbox_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('agents_outbox', '');
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER outbox_written AFTER INSERT ON agents.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION agents.outbox_written();

-- The position up to which change notifications of a view were sent; NULL = up to
-- its position.
ALTER TABLE agents.checkpoints ADD COLUMN notified bigint;

-- Message ids are unique per sender, not across senders.
ALTER TABLE agents.messages DROP CONSTRAINT messages_pkey, ADD PRIMARY KEY (sender, message_id);

-- +goose Down
ALTER TABLE agents.messages DROP CONSTRAINT messages_pkey, ADD PRIMARY KEY (message_id);
ALTER TABLE agents.checkpoints DROP COLUMN notified;
DROP TRIGGER outbox_written ON agents.outbox;
DROP FUNCTION agents.outbox_written();
