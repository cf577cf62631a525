-- +goose Up

-- The archive: every event of the journal, kept permanently. body is the stored
-- event byte for byte, and the only column that events are decoded from; raw
-- replaces it when the bytes are not valid text. The other columns are for
-- lookups and SQL queries; for an event that this build cannot decode they hold
-- the fields that can be read.
--
-- Each month has its own partition, agents.events_YYYY_MM, which the view creates
-- with the month's first event.
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

-- For reading an aggregate backwards and as of a time: recorded_at is in the index,
-- so that versions are filtered without fetching each row.
CREATE INDEX events_by_stream ON agents.events (stream, revision, recorded_at);
-- For finding the events of a command, the first of each aggregate first.
CREATE INDEX events_by_command ON agents.events (command_id, stream, revision);

-- For events of clocks that were never set.
CREATE TABLE agents.events_before_1970 PARTITION OF agents.events
    FOR VALUES FROM (MINVALUE) TO ('1970-01-01 00:00:00+00');

-- +goose Down
DROP TABLE agents.events;
