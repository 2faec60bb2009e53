-- Large parts of a run's values, each kept once under the hash of its content.

CREATE TABLE blobs (
    run  INTEGER NOT NULL,
    hash BLOB NOT NULL,            -- of the content, before compression and encryption
    body BLOB NOT NULL,            -- checksum, then the payload
    PRIMARY KEY (run, hash)
) WITHOUT ROWID;
