-- What people need who steer runs: an order among the runs of a key that a retried run can join
-- at its end, the time at which a run ended, and how far the consumers of outputs have come.

ALTER TABLE runs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;  -- grows in the order of the line
ALTER TABLE runs ADD COLUMN ended REAL;                       -- NULL while the run is open
UPDATE runs SET turn = run;

-- Runs that ended before this migration were not timed: retention counts them as long gone.
UPDATE runs SET ended = 0 WHERE status >= 10;

DROP INDEX open_runs;
CREATE INDEX open_runs ON runs (agent, turn) WHERE status < 10;
CREATE INDEX open_runs_of_key ON runs (agent, key, turn) WHERE status < 10 AND key IS NOT NULL;

CREATE TABLE consumers (
    name     TEXT PRIMARY KEY,
    position INTEGER NOT NULL      -- of the last output that it acknowledged
) WITHOUT ROWID;
