-- +goose Up

-- The planner's statistics hold frequent values of a column, and no DELETE clears them: columns
-- with content of agents have none. What an earlier build has analyzed goes when the type is
-- set again, unless a view of another owner shows the column.
-- +goose StatementBegin
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN
        SELECT t.oid::regclass AS name, a.attname AS col, format_type(a.atttypid, a.atttypmod) AS typ,
            EXISTS (SELECT FROM pg_catalog.pg_stats s WHERE s.schemaname = n.nspname AND s.tablename = t.relname AND s.attname = a.attname) AS analyzed
        FROM (VALUES ('agents.state'::regclass, '{state_value,state_text}'::text[]), ('agents.config'::regclass, '{config_value,state_text}'),
            ('agents.conflicts'::regclass, '{state_text}'), ('agents.tasks'::regclass, '{payload,result,reason,detail,state_text}'),
            ('agents.sessions'::regclass, '{data,state_text}'), ('agents.claims'::regclass, '{data,state_text}'),
            ('agents.reminders'::regclass, '{state_text}'), ('agents.messages'::regclass, '{body,body_text}'),
            ('agents.outbox'::regclass, '{body,outcome}')) AS v (name, cols)
        JOIN pg_class t ON t.oid = v.name
        JOIN pg_namespace n ON n.oid = t.relnamespace
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = ANY (v.cols) AND NOT a.attisdropped
    LOOP
        IF c.analyzed THEN
            BEGIN
                EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s', c.name, c.col, c.typ);
            EXCEPTION WHEN feature_not_supported THEN NULL;
            END;
        END IF;
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', c.name, c.col);
    END LOOP;
END $$;
-- +goose StatementEnd

-- +goose Down
-- The columns stay without statistics.
