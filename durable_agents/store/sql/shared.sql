-- What serves a file that several workers share, by name. One statement each.

-- is_registered: whether this worker has not been struck out
SELECT EXISTS (SELECT 1 FROM workers WHERE epoch = ?);

-- register: a worker, under the next fencing token
INSERT INTO workers (name, lock, boot, expires) VALUES (?, ?, ?, ?);

-- renew: the lease of a worker
UPDATE workers SET boot = ?, expires = ? WHERE epoch = ?;

-- workers: all who share the file
SELECT epoch, name, lock, boot, expires FROM workers ORDER BY epoch;

-- strike_out: a worker; its late writes find it gone
DELETE FROM workers WHERE epoch = ?;

-- hand_on: all runs of a worker to whoever claims them
UPDATE runs SET worker = ? WHERE worker = ?;

-- orphan: every open run of an owner that died; those that waited are nobody's
UPDATE runs INDEXED BY open_runs SET worker = 0 WHERE status < 10 AND status NOT IN (2, 3, 4);

-- wake_all: who shares a file keeps every run that waits in memory
UPDATE runs INDEXED BY waiting_runs SET status = 0 WHERE status = 2;

-- disown: every claim, where nobody can be alive
UPDATE runs SET worker = NULL WHERE worker IS NOT NULL;

-- has_claims: whether there are any
SELECT EXISTS (SELECT 1 FROM runs WHERE worker IS NOT NULL)
    OR EXISTS (SELECT 1 FROM workers);

-- dismiss: every worker, where nobody can be alive
DELETE FROM workers;

-- claim: a run
UPDATE runs SET worker = ? WHERE run = ?;

-- holder: who has a run, and what it has come to
SELECT worker, status FROM runs WHERE run = ?;

-- name_of_holder: the same for people
SELECT name FROM workers WHERE epoch = (SELECT worker FROM runs WHERE run = ?);

-- held: the runs that a worker has
SELECT run FROM runs WHERE worker = ?;

-- has_earlier: whether a run waits behind another one of its key
SELECT EXISTS (
    SELECT 1 FROM runs INDEXED BY open_runs_of_key
    WHERE status < 10 AND key IS NOT NULL AND agent = ? AND key = ? AND turn < ?
);

-- first_of_key: the run whose turn it is, of the next key in their order
SELECT run, key, status, worker, turn FROM runs INDEXED BY open_runs_of_key
WHERE status < 10 AND key IS NOT NULL AND agent = ? AND key >= ? ORDER BY key, turn LIMIT 1;

-- claimable_without_key: runs that are ordered with nobody
SELECT run, worker, turn FROM runs INDEXED BY open_runs_without_key
WHERE status < 10 AND key IS NULL AND agent = ? AND status NOT IN (3, 4)
  AND coalesce(worker, 0) = 0
ORDER BY turn LIMIT ?;

-- is_worked_on: whether anybody has a run of an agent
SELECT EXISTS (SELECT 1 FROM runs WHERE worker > 0 AND agent = ?);

-- row_is_there: whether a transaction whose end is unknown was committed
SELECT EXISTS (SELECT 1 FROM journal WHERE seq = ? AND run = ? AND body = ?);

-- input_is_there: the same for a transaction that only accepted inputs
SELECT EXISTS (SELECT 1 FROM runs WHERE run = ? AND accepted = ?);

-- settled: a run that has ended or waits for a person
SELECT run, status FROM runs WHERE run = ? AND (status >= 10 OR status IN (3, 4));
