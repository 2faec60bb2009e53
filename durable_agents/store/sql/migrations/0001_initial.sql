-- The first schema. Two rules give it its shape:
-- 1. The journal is appended to under an ever-growing number, so that a commit touches the end of
--    one table and of one narrow index, whatever the number of runs and of earlier entries.
-- 2. What is looked up while runs are open is indexed only while they are open.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE runs (
    run      INTEGER PRIMARY KEY,  -- grows in the order of acceptance
    id       TEXT,                 -- the caller's id; NULL where it is made of token and number
    agent    TEXT NOT NULL,
    key      TEXT,                 -- NULL: the run's id
    status   INTEGER NOT NULL,     -- RunStatus; below 10: open
    accepted BLOB NOT NULL         -- first row of the journal
);

CREATE UNIQUE INDEX runs_by_id ON runs (id) WHERE id IS NOT NULL;
CREATE INDEX open_runs ON runs (agent, run, key) WHERE status < 10;

CREATE TABLE journal (
    seq  INTEGER PRIMARY KEY,      -- number of the transaction, then 20 bits of index within it
    run  INTEGER NOT NULL,
    body BLOB NOT NULL             -- checksum, then the entries
);

CREATE INDEX journal_by_run ON journal (run);

CREATE TABLE outputs (
    position INTEGER PRIMARY KEY,  -- grows in the order of commits
    run      INTEGER NOT NULL,
    body     BLOB NOT NULL         -- checksum, then the event
);

CREATE INDEX outputs_by_run ON outputs (run);

CREATE TABLE memory (
    agent TEXT NOT NULL,
    key   TEXT NOT NULL,
    path  TEXT NOT NULL,
    body  BLOB NOT NULL,           -- checksum, then the update that made the path what it is
    PRIMARY KEY (agent, key, path)
) WITHOUT ROWID;
