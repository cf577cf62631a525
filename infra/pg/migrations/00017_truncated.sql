-- +goose Up

-- A TRUNCATE of a table that a view fills takes the position of the view too: it folds
-- the rows again. Each table has a function of its own, because a repair makes single
-- tables again, in another schema first. A view that writes has locked its position and
-- waits for the table: after its lock_timeout it gives up.

-- +goose StatementBegin
CREATE FUNCTION agents.claims_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %I.checkpoints WHERE view = %L', TG_TABLE_SCHEMA, 'durable');
            RETURN NULL;
        EXCEPTION WHEN deadlock_detected THEN
        END;
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE TRIGGER claims_truncated AFTER TRUNCATE ON agents.claims FOR EACH STATEMENT EXECUTE FUNCTION agents.claims_truncated();

-- +goose StatementBegin
CREATE FUNCTION agents.config_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %I.checkpoints WHERE view = %L', TG_TABLE_SCHEMA, 'durable');
            RETURN NULL;
        EXCEPTION WHEN deadlock_detected THEN
        END;
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE TRIGGER config_truncated AFTER TRUNCATE ON agents.config FOR EACH STATEMENT EXECUTE FUNCTION agents.config_truncated();

-- +goose StatementBegin
CREATE FUNCTION agents.conflicts_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %I.checkpoints WHERE view = %L', TG_TABLE_SCHEMA, 'durable');
            RETURN NULL;
        EXCEPTION WHEN deadlock_detected THEN
        END;
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE TRIGGER conflicts_truncated AFTER TRUNCATE ON agents.conflicts FOR EACH STATEMENT EXECUTE FUNCTION agents.conflicts_truncated();

-- +goose StatementBegin
CREATE FUNCTION agents.inboxes_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %I.checkpoints WHERE view = %L', TG_TABLE_SCHEMA, 'durable');
            RETURN NULL;
        EXCEPTION WHEN deadlock_detected THEN
        END;
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE TRIGGER inboxes_truncated AFTER TRUNCATE ON agents.inboxes FOR EACH STATEMENT EXECUTE FUNCTION agents.inboxes_truncated();

-- +goose StatementBegin
CREATE FUNCTION agents.lifecycle_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %I.checkpoints WHERE view = %L', TG_TABLE_SCHEMA, 'durable');
            RETURN NULL;
        EXCEPTION WHEN deadlock_detected THEN
        END;
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE TRIGGER lifecycle_truncated AFTER TRUNCATE ON agents.lifecycle FOR EACH STATEMENT EXECUTE FUNCTION agents.lifecycle_truncated();

-- +goose StatementBegin
CREATE FUNCTION agents.messages_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %I.checkpoints WHERE view = %L', TG_TABLE_SCHEMA, 'messages');
            RETURN NULL;
        EXCEPTION WHEN deadlock_detected THEN
        END;
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE TRIGGER messages_truncated AFTER TRUNCATE ON agents.messages FOR EACH STATEMENT EXECUTE FUNCTION agents.messages_truncated();

-- +goose StatementBegin
CREATE FUNCTION agents.reminders_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %I.checkpoints WHERE view = %L', TG_TABLE_SCHEMA, 'durable');
            RETURN NULL;
        EXCEPTION WHEN deadlock_detected THEN
        END;
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE TRIGGER reminders_truncated AFTER TRUNCATE ON agents.reminders FOR EACH STATEMENT EXECUTE FUNCTION agents.reminders_truncated();

-- +goose StatementBegin
CREATE FUNCTION agents.sessions_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %I.checkpoints WHERE view = %L', TG_TABLE_SCHEMA, 'durable');
            RETURN NULL;
        EXCEPTION WHEN deadlock_detected THEN
        END;
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE TRIGGER sessions_truncated AFTER TRUNCATE ON agents.sessions FOR EACH STATEMENT EXECUTE FUNCTION agents.sessions_truncated();

-- +goose StatementBegin
CREATE FUNCTION agents.state_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %I.checkpoints WHERE view = %L', TG_TABLE_SCHEMA, 'durable');
            RETURN NULL;
        EXCEPTION WHEN deadlock_detected THEN
        END;
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE TRIGGER state_truncated AFTER TRUNCATE ON agents.state FOR EACH STATEMENT EXECUTE FUNCTION agents.state_truncated();

-- +goose StatementBegin
CREATE FUNCTION agents.tasks_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %I.checkpoints WHERE view = %L', TG_TABLE_SCHEMA, 'durable');
            RETURN NULL;
        EXCEPTION WHEN deadlock_detected THEN
        END;
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE TRIGGER tasks_truncated AFTER TRUNCATE ON agents.tasks FOR EACH STATEMENT EXECUTE FUNCTION agents.tasks_truncated();

-- +goose StatementBegin
CREATE FUNCTION agents.views_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %I.checkpoints WHERE view = %L', TG_TABLE_SCHEMA, 'durable');
            RETURN NULL;
        EXCEPTION WHEN deadlock_detected THEN
        END;
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE TRIGGER views_truncated AFTER TRUNCATE ON agents.views FOR EACH STATEMENT EXECUTE FUNCTION agents.views_truncated();

-- +goose Down
DROP TRIGGER claims_truncated ON agents.claims;
DROP FUNCTION agents.claims_truncated();
DROP TRIGGER config_truncated ON agents.config;
DROP FUNCTION agents.config_truncated();
DROP TRIGGER conflicts_truncated ON agents.conflicts;
DROP FUNCTION agents.conflicts_truncated();
DROP TRIGGER inboxes_truncated ON agents.inboxes;
DROP FUNCTION agents.inboxes_truncated();
DROP TRIGGER lifecycle_truncated ON agents.lifecycle;
DROP FUNCTION agents.lifecycle_truncated();
DROP TRIGGER messages_truncated ON agents.messages;
DROP FUNCTION agents.messages_truncated();
DROP TRIGGER reminders_truncated ON agents.reminders;
DROP FUNCTION agents.reminders_truncated();
DROP TRIGGER sessions_truncated ON agents.sessions;
DROP FUNCTION agents.sessions_truncated();
DROP TRIGGER state_truncated ON agents.state;
DROP FUNCTION agents.state_truncated();
DROP TRIGGER tasks_truncated ON agents.tasks;
DROP FUNCTION agents.tasks_truncated();
DROP TRIGGER views_truncated ON agents.views;
DROP FUNCTION agents.views_truncated();
