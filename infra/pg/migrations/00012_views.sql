-- +goose Up

-- Declared views: their definitions, not their rows. Like the tables of other documents,
-- state_text is the state as the events contain it.
CREATE TABLE agents.views (
    name        text        PRIMARY KEY COLLATE "C",
    status      text        NOT NULL,
    source      text        NOT NULL,
    definition  jsonb       NOT NULL,
    set_by      text,
    defined_at  timestamptz,
    removed_at  timestamptz,
    state_text  text        NOT NULL,
    version     bigint      NOT NULL,
    revision    bigint      NOT NULL,
    updated_at  timestamptz NOT NULL,
    digest      text        NOT NULL
);

-- +goose Down
DROP TABLE agents.views;
