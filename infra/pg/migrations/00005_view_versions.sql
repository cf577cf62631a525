-- +goose Up

-- version is the fold version of a view's rows. digest is the digest of the last
-- folded event; it distinguishes a restored or different journal from the one
-- that the rows were folded from. NULL = that event could not be folded.
ALTER TABLE agents.checkpoints
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD COLUMN digest  text;

-- +goose Down
ALTER TABLE agents.checkpoints DROP COLUMN digest, DROP COLUMN version;
