-- +goose Up

-- Messages are events: digest is that of the event, sequence its revision. NULL = stored by
-- an earlier build, which kept no events of messages; sequence is then of AGENT_MESSAGES.
ALTER TABLE agents.messages ADD COLUMN digest text;

-- What the view durable has folded has no messages.
INSERT INTO agents.checkpoints (view, partition, position, incarnation, digest)
SELECT 'messages', partition, position, incarnation, digest FROM agents.checkpoints WHERE view = 'durable';

-- +goose Down
DELETE FROM agents.checkpoints WHERE view = 'messages';
ALTER TABLE agents.messages DROP COLUMN digest;
