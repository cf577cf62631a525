-- +goose Up

-- The archive: every event of the journal, for good. body is the stored event
-- byte for byte and all that is read back; raw takes its place where the bytes
-- are no text. The columns are for finding rows and for SQL to look into; of
-- an event that this build cannot read they hold what can be made out.
--
-- A month's rows are in a table of their own, agents.events_YYYY_MM, which the
-- view makes when the month's first event comes.
CREATE TABLE agents.events (
    revision    bigint      NOT NULL,
    version     bigint      NOT NULL,
    timestamp   timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    partition   integer     NOT NULL,
    schema      integer     NOT NULL,
    recorded_ns smallint    NOT NULL,
    stream      text        NOT NULL COLLATE "C",
    aggregate   text        NOT NULL COLLATE "C",
    id          text        NOT NULL COLLATE "C",
    key         text        NOT NULL COLLATE "C",
    type        text        NOT NULL COLLATE "C",
    writer      text        NOT NULL,
    command_id  text        NOT NULL COLLATE "C",
    digest      text        NOT NULL COLLATE "C",
    body        text,
    raw         bytea,
    PRIMARY KEY (partition, revision, recorded_at),
    CHECK ((body IS NULL) <> (raw IS NULL))
) PARTITION BY RANGE (recorded_at);
COMMENT ON COLUMN agents.events.stream IS 'the subject without its root "events."';
COMMENT ON COLUMN agents.events.recorded_ns IS
    'nanoseconds of recorded_at below the microsecond that timestamptz keeps';

-- A stream backwards and as of a time: recorded_at is in the index so that a
-- stream of many versions is judged without a look at each row.
CREATE INDEX events_by_stream ON agents.events (stream, revision, recorded_at);
-- What a command has caused, and on which stream first.
CREATE INDEX events_by_command ON agents.events (command_id, stream, revision);

-- Clocks that were never set.
CREATE TABLE agents.events_before_1970 PARTITION OF agents.events
    FOR VALUES FROM (MINVALUE) TO ('1970-01-01 00:00:00+00');

-- +goose Down
DROP TABLE agents.events;
