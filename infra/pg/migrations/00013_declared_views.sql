-- +goose Up

-- Declared views: their tables agents."view_<name>" are made with each generation, which
-- is one building of one definition. A view has one live generation, which readers see,
-- and at most one that is built beside it.
CREATE TABLE agents.declared_generations (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    view        text        NOT NULL COLLATE "C",
    live        boolean     NOT NULL DEFAULT false,
    definition  text        NOT NULL,
    version     integer     NOT NULL,
    incarnation text        NOT NULL,
    heads       bigint[]    NOT NULL,
    accept      boolean     NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (view, live)
);
COMMENT ON COLUMN agents.declared_generations.heads IS
    'positions by partition that the generation must reach before readers see it';

-- The rows of declared views that their buckets lack. changed distinguishes a later change
-- of the same row from the one that was written.
CREATE TABLE agents.declared_pending (
    view    text NOT NULL COLLATE "C",
    key     text NOT NULL COLLATE "C",
    changed xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (view, key)
);

-- +goose Down
DROP TABLE agents.declared_pending, agents.declared_generations;
