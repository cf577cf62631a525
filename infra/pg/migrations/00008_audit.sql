-- +goose Up

-- A copy of the stream AUDIT: who may use the engine, what was refused, and what
-- operators did. body is the event as stored, with its digest.
CREATE TABLE agents.audit (
    sequence    bigint      PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    type        text        NOT NULL,
    name        text        NOT NULL,
    actor       text        NOT NULL,
    body        text        NOT NULL
);
CREATE INDEX audit_of ON agents.audit (name, recorded_at);

-- The login role that inserted a row; with --auth its grants decide.
ALTER TABLE agents.outbox ADD COLUMN inserted_by text NOT NULL DEFAULT session_user;

-- +goose StatementBegin
CREATE FUNCTION agents.outbox_sender() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.inserted_by := session_user;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER outbox_sender BEFORE INSERT ON agents.outbox FOR EACH ROW EXECUTE FUNCTION agents.outbox_sender();

-- +goose Down
DROP TRIGGER outbox_sender ON agents.outbox;
DROP FUNCTION agents.outbox_sender();
ALTER TABLE agents.outbox DROP COLUMN inserted_by;
DROP TABLE agents.audit;
