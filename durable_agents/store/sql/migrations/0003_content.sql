-- Large parts of a run's values, each kept once under the hash of its content.

CREATE TABLE blobs (
    run  INTEGER NOT NULL,
    hash BLOB NOT NULL,            -- of the content, before compression and encryption
    body BLOB NOT NULL,            -- checksum, then the payload
    PRIMARY KEY (run, hash)
) WITHOUT ROWID;

-- They belong to their run and go with it, whoever deletes it.
CREATE TRIGGER blobs_go_with_their_run AFTER DELETE ON runs
BEGIN
    DELETE FROM blobs WHERE run = OLD.run;
END;
