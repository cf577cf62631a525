-- +goose Up

-- A TRUNCATE of a table of a declared view takes the positions of its generation: it is
-- built again. The triggers are made with the tables; their argument is the generation.

-- +goose StatementBegin
CREATE FUNCTION agents.declared_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            EXECUTE format($q$DELETE FROM %1$I.checkpoints WHERE view IN
                (SELECT 'view.' || view || CASE WHEN live THEN '' ELSE '.next' END FROM %1$I.declared_generations WHERE id = %2$L)$q$,
                TG_TABLE_SCHEMA, TG_ARGV[0]);
            RETURN NULL;
        EXCEPTION WHEN deadlock_detected THEN
        END;
    END LOOP;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION agents.declared_truncated() CASCADE;
