-- Runs that wait for time or a signal, and have left the memory of their worker.

ALTER TABLE runs ADD COLUMN wake REAL;  -- when a run that waits is due; NULL: no time wakes it
CREATE INDEX waiting_runs ON runs (agent, wake) WHERE status = 2;
