-- +goose Up

-- version is that of the fold that made a view's rows; digest is that of the
-- last event folded, by which a restored or other journal is told from the one
-- the rows are of. NULL = that event could not be folded.
ALTER TABLE agents.checkpoints
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD COLUMN digest  text;

-- +goose Down
ALTER TABLE agents.checkpoints DROP COLUMN digest, DROP COLUMN version;
