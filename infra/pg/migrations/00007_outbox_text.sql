-- +goose Up

-- The body is kept as the application wrote it, and any text is accepted: what is
-- wrong with a body becomes the row's outcome. NULL means no body.
ALTER TABLE agents.outbox
    ALTER COLUMN body DROP DEFAULT,
    ALTER COLUMN body DROP NOT NULL,
    ALTER COLUMN body TYPE text USING body::text;
ALTER TABLE agents.outbox ALTER COLUMN body SET DEFAULT '{}';

-- NOTIFY takes a lock of the whole database at each commit and does not work in a
-- transaction that is prepared (PostgreSQL manual, NOTIFY). The relay polls.
DROP TRIGGER outbox_written ON agents.outbox;
DROP FUNCTION agents.outbox_written();

-- For the removal of old rows. An insert does not touch it.
CREATE INDEX outbox_done ON agents.outbox (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX messages_stored ON agents.messages USING brin (stored_at);

-- Work that one engine does at a time. A lease ends at expires_at, also when its
-- holder is frozen and keeps its connections open.
CREATE TABLE agents.leases (
    name       text        PRIMARY KEY,
    holder     text        NOT NULL,
    expires_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE agents.leases;
DROP INDEX agents.messages_stored, agents.outbox_done;
UPDATE agents.outbox SET body = '{}' WHERE body IS NULL;
ALTER TABLE agents.outbox ALTER COLUMN body DROP DEFAULT;
ALTER TABLE agents.outbox ALTER COLUMN body TYPE jsonb USING body::jsonb, ALTER COLUMN body SET NOT NULL;
ALTER TABLE agents.outbox ALTER COLUMN body SET DEFAULT '{}';
-- +goose StatementBegin
CREATE FUNCTION agents.outbox_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('agents_outbox', '');
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER outbox_written AFTER INSERT ON agents.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION agents.outbox_written();
