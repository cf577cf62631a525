-- +goose Up

-- Claims: who holds which name. Like the tables of other documents, state_text is the
-- state as the events contain it.
CREATE TABLE agents.claims (
    claim_id    text        PRIMARY KEY COLLATE "C",
    status      text        NOT NULL,
    owner       text        NOT NULL COLLATE "C",
    fence       bigint      NOT NULL,
    lease_ms    bigint,
    data        jsonb,
    acquired_at timestamptz,
    renewed_at  timestamptz,
    expires_at  timestamptz,
    ended_at    timestamptz,
    state_text  text        NOT NULL,
    version     bigint      NOT NULL,
    revision    bigint      NOT NULL,
    updated_at  timestamptz NOT NULL,
    digest      text        NOT NULL
);
CREATE INDEX claims_by_owner ON agents.claims (owner, claim_id);

-- +goose Down
DROP TABLE agents.claims;
