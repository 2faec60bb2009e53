-- Every statement of the SQLite store, by name. One statement each.

-- accept: an input without an id of its caller
INSERT INTO runs (run, id, agent, key, status, accepted, turn) VALUES (?, NULL, ?, ?, 0, ?, ?);

-- accept_once: an input with an id of its caller; no row where the id is known
INSERT INTO runs (run, id, agent, key, status, accepted, turn) VALUES (?, ?, ?, ?, 0, ?, ?)
ON CONFLICT (id) WHERE id IS NOT NULL DO NOTHING;

-- append: one row of the journal
INSERT INTO journal (seq, run, body) VALUES (?, ?, ?);

-- set_status: a run ended, was parked or goes on
UPDATE runs SET status = new.column1, ended = new.column2
FROM (VALUES (?, ?, ?)) AS new WHERE run = new.column3;

-- set_waiting: a run has left the memory of its worker until it is woken
UPDATE runs SET status = 2, wake = new.column1
FROM (VALUES (?, ?)) AS new WHERE run = new.column2;

-- requeue: a run goes to the end of the line
UPDATE runs SET turn = ? WHERE run = ?;

-- add_output: one output of a completed action
INSERT INTO outputs (position, run, body) VALUES (?, ?, ?);

-- set_memory: one path of a key's memory
INSERT INTO memory (agent, key, path, body) VALUES (?, ?, ?, ?)
ON CONFLICT (agent, key, path) DO UPDATE SET body = excluded.body;

-- delete_memory: one path of a key's memory
DELETE FROM memory WHERE agent = ? AND key = ? AND path = ?;

-- add_blob: a large part of a run's values; no row where the run has it already
INSERT INTO blobs (run, hash, body) VALUES (?, ?, ?) ON CONFLICT (run, hash) DO NOTHING;

-- set_meta: a fact about the store
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- pauses: the facts that something is paused; between the characters "," and "-"
SELECT name, value FROM meta WHERE name >= '["paused",' AND name < '["paused"-';

-- forget_meta: a fact that is none any more
DELETE FROM meta WHERE name = ?;

-- meta: all facts about the store
SELECT name, value FROM meta;

-- last_numbers: where numbering goes on; what was pruned keeps its numbers
SELECT
    max((SELECT coalesce(max(run), 0) FROM runs),
        (SELECT coalesce(max(cast(value AS INTEGER)), 0) FROM meta WHERE name = 'last_run')),
    (SELECT coalesce(max(seq), 0) FROM journal),
    max((SELECT coalesce(max(position), 0) FROM outputs),
        (SELECT coalesce(max(cast(value AS INTEGER)), 0) FROM meta WHERE name = 'last_position')),
    EXISTS (SELECT 1 FROM memory);

-- last_seq: whether a transaction whose end is unknown was committed
SELECT coalesce(max(seq), 0) FROM journal;

-- run_exists: the same for a transaction that only accepted inputs
SELECT EXISTS (SELECT 1 FROM runs WHERE run = ?);

-- runs_of: those of these numbers that are there
SELECT run FROM runs WHERE run IN (VALUES (?));

-- accepted: first row of a run's journal
SELECT accepted FROM runs WHERE run = ?;

-- journal: the other rows of a run, in order
SELECT seq, body FROM journal WHERE run = ? ORDER BY seq;

-- whole_journal: all rows of a run, the first one as number 0
SELECT 0, accepted FROM runs WHERE run = ?
UNION ALL SELECT seq, body FROM journal WHERE run = ? ORDER BY 1;

-- blobs: large parts of a run's values
SELECT hash, body FROM blobs WHERE run = ?;

-- run_by_number: one run
SELECT run, id, agent, key, status, turn FROM runs WHERE run = ?;

-- run_by_id: one run by its caller's id
SELECT run, id, agent, key, status, turn FROM runs WHERE id = ?;

-- open_runs: runs of an agent that have not ended; those that wait keep nothing but a key
SELECT run, id, agent, key, status, turn FROM runs INDEXED BY open_runs
WHERE status < 10 AND (status <> 2 OR key IS NOT NULL) AND agent = ? AND turn > ?
ORDER BY turn LIMIT ?;

-- waiting_runs: how many runs of an agent wait, and when the first one is due
SELECT count(*), min(wake) FROM runs INDEXED BY waiting_runs WHERE status = 2 AND agent = ?;

-- due_runs: those of them that are due, the earliest first
SELECT run, id, agent, key, status, turn FROM runs INDEXED BY waiting_runs
WHERE status = 2 AND agent = ? AND wake <= ? ORDER BY wake, run LIMIT ?;

-- open_runs_of_key: the same for one key
SELECT run, id, agent, key, status, turn FROM runs INDEXED BY open_runs_of_key
WHERE status < 10 AND key IS NOT NULL AND agent = ? AND key = ? AND turn > ?
ORDER BY turn LIMIT ?;

-- runs: all runs
SELECT run, id, agent, key, status, turn FROM runs WHERE run > ? ORDER BY run LIMIT ?;

-- memory: a key's memory
SELECT path, body FROM memory WHERE agent = ? AND key = ?;

-- outputs_of: outputs of one run
SELECT position, outputs.run, id, key, body FROM outputs JOIN runs USING (run)
WHERE outputs.run = ? ORDER BY position;

-- outputs: outputs of all runs behind a position
SELECT position, outputs.run, id, key, body FROM outputs JOIN runs USING (run)
WHERE position > ? ORDER BY position LIMIT ?;

-- last_position: of the newest output
SELECT max((SELECT coalesce(max(position), 0) FROM outputs),
           (SELECT coalesce(max(cast(value AS INTEGER)), 0) FROM meta WHERE name = 'last_position'));

-- acknowledged: how far a consumer has come
SELECT position FROM consumers WHERE name = ?;

-- acknowledge: a consumer has come further; it never goes back
INSERT INTO consumers (name, position) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET position = max(position, excluded.position);

-- moment: how far a schedule has come
SELECT value FROM meta WHERE name = ?;

-- begin_moment: a schedule is seen for the first time
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING;

-- keep_moment: a schedule has come further; it never goes back
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE
SET value = max(cast(value AS INTEGER), cast(excluded.value AS INTEGER));

-- newest_prunable: the newest run that has ended, without those that are kept for being newer
SELECT run FROM runs WHERE status >= 10 ORDER BY run DESC LIMIT 1 OFFSET ?;

-- prunable: runs that ended long ago, oldest first; not while an output waits for a consumer
SELECT run FROM runs
WHERE status >= 10 AND (status <> 11 OR ?) AND ended < ? AND run <= ?
  AND NOT EXISTS (SELECT 1 FROM outputs WHERE outputs.run = runs.run
                  AND position > (SELECT min(position) FROM consumers))
ORDER BY run LIMIT ?;

-- prune_runs: forget runs, with all that belongs to it
DELETE FROM runs WHERE run IN (VALUES (?));

-- prune_journal: the same
DELETE FROM journal WHERE run IN (VALUES (?));

-- prune_blobs: the same
DELETE FROM blobs WHERE run IN (VALUES (?));

-- prune_outputs: the same
DELETE FROM outputs WHERE run IN (VALUES (?));

-- latest_runs: for people, the newest first; NULL stands for any status, any key
SELECT run, id, agent, key, status, turn FROM runs
WHERE (? IS NULL OR status = ?) AND (? IS NULL OR key = ?) ORDER BY run DESC LIMIT ?;

-- status_counts: how many runs there are of each status
SELECT status, count(*) FROM runs GROUP BY status;

-- runs_between: runs whose callers' ids lie between two texts, the second one excluded
SELECT run, id, agent, key, status, turn FROM runs WHERE id >= ? AND id < ?;

-- all_memory: every path of every key's memory; for `doctor`
SELECT agent, key, path, body FROM memory;

-- strays: numbers of runs that are gone, and of which something is left; for `doctor`
SELECT run FROM journal WHERE run NOT IN (SELECT run FROM runs)
UNION SELECT run FROM outputs WHERE run NOT IN (SELECT run FROM runs)
UNION SELECT run FROM blobs WHERE run NOT IN (SELECT run FROM runs);
