-- Several workers share the file. A file that one worker owns pays nothing for it: the column
-- stays NULL there, and the index empty.

CREATE TABLE workers (
    epoch   INTEGER PRIMARY KEY AUTOINCREMENT,  -- fencing token: never given twice
    name    TEXT NOT NULL,                      -- for people
    lock    TEXT NOT NULL,                      -- its lock file, held while it lives
    boot    TEXT,                               -- start of the machine that `expires` counts from
    expires REAL                                -- end of its lease; NULL: it has none yet
);

ALTER TABLE runs ADD COLUMN worker INTEGER;     -- epoch of who runs it; 0: left by one that died

CREATE INDEX claimed_runs ON runs (worker) WHERE worker IS NOT NULL;
