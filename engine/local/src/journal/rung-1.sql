CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- The runs in the order they began. AUTOINCREMENT remembers the last number, so that a missing last run shows.
CREATE TABLE begun (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  run TEXT NOT NULL UNIQUE,
  first_hash BLOB NOT NULL
) STRICT;

CREATE TABLE events (
  run TEXT NOT NULL,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  step TEXT NOT NULL,
  data TEXT NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

-- What pruning leaves of a run.
CREATE TABLE stones (
  run TEXT PRIMARY KEY,
  first_hash BLOB NOT NULL,
  last_hash BLOB NOT NULL,
  events INTEGER NOT NULL,
  at INTEGER NOT NULL,
  who TEXT NOT NULL,
  why TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER events_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_delete BEFORE DELETE ON events
WHEN NOT EXISTS (SELECT 1 FROM stones WHERE run = OLD.run)
BEGIN SELECT RAISE(ABORT, 'events are never removed, but by pruning their run'); END;
CREATE TRIGGER events_insert BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE run = NEW.run AND seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'events are never replaced'); END;

CREATE TRIGGER begun_update BEFORE UPDATE ON begun
BEGIN SELECT RAISE(ABORT, 'begun runs are never changed'); END;
CREATE TRIGGER begun_delete BEFORE DELETE ON begun
BEGIN SELECT RAISE(ABORT, 'begun runs are never removed'); END;
CREATE TRIGGER begun_insert BEFORE INSERT ON begun
WHEN EXISTS (SELECT 1 FROM begun WHERE run = NEW.run OR number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'begun runs are never replaced'); END;

CREATE TRIGGER stones_update BEFORE UPDATE ON stones
BEGIN SELECT RAISE(ABORT, 'stones are never changed'); END;
CREATE TRIGGER stones_delete BEFORE DELETE ON stones
BEGIN SELECT RAISE(ABORT, 'stones are never removed'); END;
CREATE TRIGGER stones_insert BEFORE INSERT ON stones
WHEN EXISTS (SELECT 1 FROM stones WHERE run = NEW.run)
BEGIN SELECT RAISE(ABORT, 'stones are never replaced'); END;

-- What others ask of a run; its holder takes it in as an event: `taken` is that event's seq.
CREATE TABLE inbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  run TEXT NOT NULL,
  at INTEGER NOT NULL,
  sender TEXT NOT NULL,
  data TEXT NOT NULL,
  taken INTEGER
) STRICT;
CREATE INDEX inbox_waiting ON inbox (run) WHERE taken IS NULL;

-- Projections: all below can be made again from the events.
CREATE TABLE runs (
  number INTEGER PRIMARY KEY,
  run TEXT NOT NULL UNIQUE,
  head BLOB NOT NULL,
  playbook TEXT NOT NULL,
  version TEXT NOT NULL,
  digest TEXT NOT NULL,
  path TEXT NOT NULL,
  title TEXT NOT NULL,
  user TEXT NOT NULL,
  host TEXT NOT NULL,
  state TEXT NOT NULL,
  outcome TEXT,
  exit_code INTEGER,
  started_at INTEGER NOT NULL,
  ended_at INTEGER
) STRICT;

CREATE TABLE steps (
  run TEXT NOT NULL,
  step TEXT NOT NULL,
  position INTEGER NOT NULL,
  title TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  started_at INTEGER,
  ended_at INTEGER,
  error TEXT,
  changed INTEGER NOT NULL,
  PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE findings (
  run TEXT NOT NULL,
  seq INTEGER NOT NULL,
  position INTEGER NOT NULL,
  step TEXT NOT NULL,
  severity TEXT NOT NULL,
  title TEXT NOT NULL,
  advice TEXT,
  PRIMARY KEY (run, seq, position)
) STRICT, WITHOUT ROWID;
