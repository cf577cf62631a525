-- +goose Up

-- An application cannot take the row ids of another one, whose inserts would fail.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION agents.outbox_sender() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids text := pg_get_serial_sequence(format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME), 'id');
BEGIN
    NEW.inserted_by := session_user;
    IF NOT pg_has_role(session_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'MEMBER') AND has_sequence_privilege(ids, 'USAGE') THEN
        NEW.id := nextval(ids);
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION agents.outbox_sender() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.inserted_by := session_user;
    RETURN NEW;
END $$;
-- +goose StatementEnd
