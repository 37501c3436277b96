-- Who vouches for the head that a run had when it came to rest.
CREATE TABLE signatures (
  run TEXT NOT NULL,
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL,
  key BLOB NOT NULL,
  signature BLOB NOT NULL,
  PRIMARY KEY (run, seq, key)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER signatures_update BEFORE UPDATE ON signatures
BEGIN SELECT RAISE(ABORT, 'signatures are never changed'); END;
CREATE TRIGGER signatures_delete BEFORE DELETE ON signatures
WHEN NOT EXISTS (SELECT 1 FROM stones WHERE run = OLD.run)
BEGIN SELECT RAISE(ABORT, 'signatures are never removed, but by pruning their run'); END;
CREATE TRIGGER signatures_insert BEFORE INSERT ON signatures
WHEN EXISTS (SELECT 1 FROM signatures WHERE run = NEW.run AND seq = NEW.seq AND key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'signatures are never replaced'); END;

-- Over everything else that a stone says; a stone of the version before has none.
ALTER TABLE stones ADD COLUMN hash BLOB;

-- A projection: the undos that lapse. `released` is when what they kept was given up.
CREATE TABLE undos (
  run TEXT NOT NULL,
  step TEXT NOT NULL,
  seq INTEGER NOT NULL,
  until INTEGER NOT NULL,
  released INTEGER,
  PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;
CREATE INDEX undos_kept ON undos (until) WHERE released IS NULL;
