//! The embedded store: one SQLite file.
//!
//! Write-ahead log with `synchronous=FULL`: a commit is on disk before it is acknowledged, for one
//! `fsync`. The only module that touches the database.

use super::{Batch, Contents, Entry, Key, Log, Position, Since, Space, Store, StoreError};
use roost_proto::ids::{Epoch, Serial};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// "Rost" as a number: SQLite keeps it in the file's header.
const APPLICATION_ID: i64 = 0x526f_7374;
/// The format this program writes. Older ones are migrated when opened, see [`migrate`].
///
/// | format | |
/// |---|---|
/// | 1 | documents and log |
/// | 2 | the log says the epoch of each commit |
const FORMAT: i64 = 2;
/// Batches kept for watchers and followers that fell behind: so many …
const TAIL: i64 = 10_000;
/// … and no more than this, bytes: who lacks more gets a whole copy as fast.
const TAIL_BYTES: i64 = 32 << 20;
/// How often the tail is cut, in commits: cutting each time would cost as much as the commit.
const CUT_EVERY: u64 = 1_000;

const SCHEMA: &str = "
    CREATE TABLE doc (
        space TEXT NOT NULL,
        id    TEXT NOT NULL,
        body  TEXT NOT NULL,
        PRIMARY KEY (space, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE log (
        serial INTEGER PRIMARY KEY,
        epoch  INTEGER NOT NULL,
        batch  TEXT NOT NULL
    ) STRICT;
";

/// What leads from a format to the next: the first from 1 to 2.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE log_2 (
        serial INTEGER PRIMARY KEY,
        epoch  INTEGER NOT NULL,
        batch  TEXT NOT NULL
    ) STRICT;
    INSERT INTO log_2 (serial, epoch, batch) SELECT serial, 0, batch FROM log;
    DROP TABLE log;
    ALTER TABLE log_2 RENAME TO log;
"];

/// See the module.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    db: Connection,
    end: Position,
    cut: u64,
    /// Held as long as this lives: two programs must never write one file.
    _lock: Option<fs::File>,
}

impl SqliteStore {
    /// Makes a new file. Errors: [`StoreError::Exists`].
    pub fn create(path: &Path) -> Result<SqliteStore, StoreError> {
        if path.exists() {
            return Err(StoreError::Exists { path: path.to_owned() });
        }
        // Private parameters are in it: for root only. SQLite's other files follow the first.
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        made.map_err(|e| StoreError::Failed { path: path.to_owned(), detail: e.to_string() })?;
        let store = Self::connect(path)?;
        let setup = || {
            store.db.pragma_update(None, "application_id", APPLICATION_ID)?;
            store.db.pragma_update(None, "user_version", FORMAT)?;
            store.db.execute_batch(SCHEMA)
        };
        setup().map_err(|e| store.failed(&e))?;
        Ok(store)
    }

    /// Opens one, after checking that it is ours, whole, and not from the future.
    pub fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        let mut store = Self::connect(path)?;
        let found = store.check()?;
        if found < FORMAT {
            store.migrate(found)?;
        }
        store.end = store.read_end()?;
        Ok(store)
    }

    fn read_end(&self) -> Result<Position, StoreError> {
        let newest = self
            .db
            .query_row("SELECT serial, epoch FROM log ORDER BY serial DESC LIMIT 1", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()
            .map_err(|e| self.failed(&e))?;
        Ok(newest.map_or(Position::default(), |(serial, epoch)| Position {
            serial: Serial(serial.unsigned_abs()),
            epoch: Epoch(epoch.unsigned_abs()),
        }))
    }

    /// Brings an older format forward, after a copy of the file was put beside it.
    fn migrate(&mut self, found: i64) -> Result<(), StoreError> {
        let mut backup = self.path.clone().into_os_string();
        backup.push(format!(".format-{found}"));
        let backup = PathBuf::from(backup);
        if !backup.exists() {
            self.copy_to(&backup)?;
        }
        let path = self.path.clone();
        let mut steps = || -> Result<(), rusqlite::Error> {
            let tx = self.db.transaction()?;
            for step in MIGRATIONS.iter().skip(usize::try_from(found - 1).unwrap_or(0)) {
                tx.execute_batch(step)?;
            }
            tx.pragma_update(None, "user_version", FORMAT)?;
            tx.commit()
        };
        steps().map_err(|e| StoreError::Failed {
            path,
            detail: format!(
                "its format {found} could not be brought to {FORMAT}: {e}. Nothing was changed; \
                 a copy is in {}",
                backup.display()
            ),
        })?;
        tracing::info!(
            path = %self.path.display(),
            backup = %backup.display(),
            from = found,
            to = FORMAT,
            "the database was brought to a newer format"
        );
        Ok(())
    }

    /// Writes a consistent copy to a new file, for root only. Errors: also if there is one.
    pub fn copy_to(&self, copy: &Path) -> Result<(), StoreError> {
        let failed = |detail: String| StoreError::Failed { path: copy.to_owned(), detail };
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(copy);
        made.map_err(|e| failed(e.to_string()))?;
        self.db
            .execute("VACUUM INTO ?1", [copy.to_string_lossy()])
            .map_err(|e| failed(e.to_string()))?;
        let file = fs::File::open(copy).map_err(|e| failed(e.to_string()))?;
        file.sync_all().map_err(|e| failed(e.to_string()))
    }

    /// A second connection that only reads, for [`SqliteStore::copy_to`] while commits go on.
    pub fn reader(path: &Path) -> Result<SqliteStore, StoreError> {
        let failed = |e: rusqlite::Error| StoreError::Failed {
            path: path.to_owned(),
            detail: e.to_string(),
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(failed)?;
        db.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
        Ok(SqliteStore { path: path.to_owned(), db, end: Position::default(), cut: 0, _lock: None })
    }

    fn connect(path: &Path) -> Result<SqliteStore, StoreError> {
        let failed = |e: &rusqlite::Error| StoreError::Failed {
            path: path.to_owned(),
            detail: e.to_string(),
        };
        let lock = fs::File::open(path)
            .map_err(|e| StoreError::Failed { path: path.to_owned(), detail: e.to_string() })?;
        lock.try_lock().map_err(|_| StoreError::Failed {
            path: path.to_owned(),
            detail: "it is in use: another masterd works on it".into(),
        })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(|e| failed(&e))?;
        // A database that is not one shows here first.
        let configure = || {
            db.pragma_update(None, "journal_mode", "WAL")?;
            db.pragma_update(None, "synchronous", "FULL")?;
            db.busy_timeout(std::time::Duration::from_secs(5))
        };
        configure().map_err(|e| match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => {
                StoreError::Foreign { path: path.to_owned() }
            }
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
                StoreError::Damaged { path: path.to_owned(), detail: e.to_string() }
            }
            _ => failed(&e),
        })?;
        Ok(SqliteStore {
            path: path.to_owned(),
            db,
            end: Position::default(),
            cut: 0,
            _lock: Some(lock),
        })
    }

    /// Is it ours, whole, and not from the future? Returns its format.
    fn check(&self) -> Result<i64, StoreError> {
        let pragma = |name: &str| -> Result<i64, StoreError> {
            self.db.pragma_query_value(None, name, |row| row.get(0)).map_err(|e| self.failed(&e))
        };
        if pragma("application_id")? != APPLICATION_ID {
            return Err(StoreError::Foreign { path: self.path.clone() });
        }
        let found = pragma("user_version")?;
        if found > FORMAT {
            return Err(StoreError::Newer { path: self.path.clone(), found, known: FORMAT });
        }
        let verdict: String = self
            .db
            .pragma_query_value(None, "quick_check", |row| row.get(0))
            .map_err(|e| self.failed(&e))?;
        if verdict != "ok" {
            return Err(StoreError::Damaged { path: self.path.clone(), detail: verdict });
        }
        Ok(found)
    }

    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                StoreError::Damaged { path: self.path.clone(), detail: error.to_string() }
            }
            _ => StoreError::Failed { path: self.path.clone(), detail: error.to_string() },
        }
    }

    /// Documents and log, in one transaction.
    fn write(
        &mut self,
        entries: &mut dyn Iterator<Item = (Position, &Batch)>,
    ) -> Result<(), rusqlite::Error> {
        let tx = self.db.transaction()?;
        let (mut end, mut written) = (self.end, 0);
        {
            let mut put = tx.prepare_cached(
                "INSERT INTO doc (space, id, body) VALUES (?1, ?2, ?3)
                 ON CONFLICT (space, id) DO UPDATE SET body = excluded.body",
            )?;
            let mut delete = tx.prepare_cached("DELETE FROM doc WHERE space = ?1 AND id = ?2")?;
            let mut log =
                tx.prepare_cached("INSERT INTO log (serial, epoch, batch) VALUES (?1, ?2, ?3)")?;
            for (at, batch) in entries {
                for (key, body) in &batch.puts {
                    put.execute(params![key.space.as_str(), key.id, body])?;
                }
                for key in &batch.deletes {
                    delete.execute(params![key.space.as_str(), key.id])?;
                }
                let text = serde_json::to_string(batch)
                    .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
                log.execute(params![at.serial.0 as i64, at.epoch.0 as i64, text])?;
                end = at;
                written += 1;
            }
            if self.cut / CUT_EVERY != (self.cut + written) / CUT_EVERY {
                let oldest = end.serial.0 as i64 - TAIL;
                tx.execute("DELETE FROM log WHERE serial < ?1", [oldest])?;
                // The last one stays in any case: it says where the log ends.
                tx.execute(
                    "DELETE FROM log WHERE serial <= (
                         SELECT max(serial) FROM (
                             SELECT serial, sum(length(batch)) OVER (ORDER BY serial DESC) AS size
                             FROM log
                         ) WHERE size > ?1
                     ) AND serial < ?2",
                    [TAIL_BYTES, end.serial.0 as i64],
                )?;
            }
        }
        tx.commit()?;
        self.cut += written;
        self.end = end;
        Ok(())
    }

    fn read_log(&self, after: Serial, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let read = || -> Result<Vec<(i64, i64, String)>, rusqlite::Error> {
            let mut tail = self.db.prepare_cached(
                "SELECT serial, epoch, batch FROM log WHERE serial > ?1 ORDER BY serial",
            )?;
            let mut rows = tail.query([after.0 as i64])?;
            let (mut found, mut size) = (Vec::new(), 0);
            while size < limit
                && let Some(row) = rows.next()?
            {
                let batch: String = row.get(2)?;
                size += batch.len();
                found.push((row.get(0)?, row.get(1)?, batch));
            }
            Ok(found)
        };
        let rows = read().map_err(|e| self.failed(&e))?;
        rows.into_iter()
            .map(|(serial, epoch, text)| {
                let batch = serde_json::from_str(&text).map_err(|e| StoreError::Damaged {
                    path: self.path.clone(),
                    detail: format!("commit {serial} in its log is unreadable: {e}"),
                })?;
                let (serial, epoch) = (Serial(serial.unsigned_abs()), Epoch(epoch.unsigned_abs()));
                Ok(Entry { at: Position { epoch, serial }, batch })
            })
            .collect()
    }

    /// Everything but the archive, space by space: what is not wanted is not even read.
    fn read_documents(&self) -> Result<Vec<(Key, String)>, StoreError> {
        let mut found = Vec::new();
        for space in Space::ALL.into_iter().filter(|space| *space != Space::Archive) {
            let rows = self.read_space(space)?;
            found.extend(rows.into_iter().map(|(id, body)| (Key { space, id }, body)));
        }
        self.check_spaces()?;
        Ok(found)
    }

    /// All documents of a space, in the order of their ids.
    fn read_space(&self, space: Space) -> Result<Vec<(String, String)>, StoreError> {
        let read = || -> Result<Vec<(String, String)>, rusqlite::Error> {
            let mut all =
                self.db.prepare_cached("SELECT id, body FROM doc WHERE space = ?1 ORDER BY id")?;
            let rows = all.query_map([space.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        };
        read().map_err(|e| self.failed(&e))
    }

    /// A document of a kind this program does not know must not be passed over in silence. Goes from
    /// one kind to the next larger, without reading what is between.
    fn check_spaces(&self) -> Result<(), StoreError> {
        let mut last = String::new();
        loop {
            let next: Option<String> = self
                .db
                .query_row("SELECT min(space) FROM doc WHERE space > ?1", [&last], |row| row.get(0))
                .map_err(|e| self.failed(&e))?;
            let Some(next) = next else { return Ok(()) };
            if Space::of(&next).is_none() {
                return Err(StoreError::Damaged {
                    path: self.path.clone(),
                    detail: format!("it has documents of an unknown kind '{next}'"),
                });
            }
            last = next;
        }
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Contents, StoreError> {
        Ok(Contents { serial: self.end.serial, documents: self.read_documents()? })
    }

    fn commit(&mut self, epoch: Epoch, batches: &[Batch]) -> Result<Serial, StoreError> {
        let first = self.end.serial.0 + 1;
        let mut numbered = (first..)
            .zip(batches)
            .map(|(serial, batch)| (Position { epoch, serial: Serial(serial) }, batch));
        self.write(&mut numbered).map_err(|e| self.failed(&e))?;
        Ok(self.end.serial)
    }

    fn since(&mut self, serial: Serial) -> Result<Since, StoreError> {
        if serial.0 > 0
            && let Some(entries) = self.entries(serial, usize::MAX)?
        {
            return Ok(Since::Tail(entries.into_iter().map(|e| (e.at.serial, e.batch)).collect()));
        }
        Ok(Since::Snapshot(self.load()?))
    }

    fn get(&mut self, key: &Key) -> Result<Option<String>, StoreError> {
        self.db
            .query_row(
                "SELECT body FROM doc WHERE space = ?1 AND id = ?2",
                params![key.space.as_str(), key.id],
                |row| row.get(0),
            )
            .optional()
            .map_err(|e| self.failed(&e))
    }

    fn last_id(&mut self, space: Space) -> Result<Option<String>, StoreError> {
        let query = "SELECT max(id) FROM doc WHERE space = ?1";
        self.db.query_row(query, [space.as_str()], |row| row.get(0)).map_err(|e| self.failed(&e))
    }

    fn scan(&mut self, space: Space) -> Result<Vec<(String, String)>, StoreError> {
        self.read_space(space)
    }

    fn log(&mut self) -> Option<&mut dyn Log> {
        Some(self)
    }
}

impl Log for SqliteStore {
    fn position(&mut self) -> Result<Position, StoreError> {
        Ok(self.end)
    }

    fn epoch_of(&mut self, serial: Serial) -> Result<Option<Epoch>, StoreError> {
        if serial.0 == 0 {
            return Ok(Some(Epoch(0)));
        }
        let epoch: Option<i64> = self
            .db
            .query_row("SELECT epoch FROM log WHERE serial = ?1", [serial.0 as i64], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|e| self.failed(&e))?;
        Ok(epoch.map(|epoch| Epoch(epoch.unsigned_abs())))
    }

    fn entries(&mut self, serial: Serial, limit: usize) -> Result<Option<Vec<Entry>>, StoreError> {
        let rows = self.read_log(serial, limit)?;
        let complete = match rows.first() {
            Some(first) => first.at.serial.0 == serial.0 + 1,
            None => serial == self.end.serial,
        };
        Ok(complete.then_some(rows))
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut have = self.end;
        for entry in entries {
            if entry.at.serial.0 != have.serial.0 + 1 || entry.at.epoch < have.epoch {
                return Err(StoreError::Gap { path: self.path.clone(), have, next: entry.at });
            }
            have = entry.at;
        }
        let mut all = entries.iter().map(|entry| (entry.at, &entry.batch));
        self.write(&mut all).map_err(|e| self.failed(&e))
    }

    fn file(&self) -> PathBuf {
        self.path.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.db");
        (dir, path)
    }

    #[test]
    fn conforms() {
        let (_dir, path) = fresh();
        super::super::conformance::check(&mut |new| {
            let store =
                if new { SqliteStore::create(&path) } else { SqliteStore::open(&path) }.unwrap();
            Box::new(store)
        });
    }

    #[test]
    fn refuses_what_it_must_not_touch() {
        let (_dir, path) = fresh();
        assert!(matches!(SqliteStore::open(&path), Err(StoreError::Missing { .. })));

        std::fs::write(
            &path,
            "not a database, but long enough to have a header of its own".repeat(20),
        )
        .unwrap();
        assert!(matches!(SqliteStore::open(&path), Err(StoreError::Foreign { .. })));
        std::fs::remove_file(&path).unwrap();

        let db = Connection::open(&path).unwrap();
        db.execute_batch("CREATE TABLE t (a)").unwrap();
        drop(db);
        assert!(matches!(SqliteStore::open(&path), Err(StoreError::Foreign { .. })));
        assert!(matches!(SqliteStore::create(&path), Err(StoreError::Exists { .. })));
    }

    #[test]
    fn is_for_root_only() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, path) = fresh();
        let mut store = SqliteStore::create(&path).unwrap();
        store.commit(Epoch(1), &[Batch::default()]).unwrap();
        for file in fs::read_dir(dir.path()).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }

    #[test]
    fn takes_the_commits_of_another_machine() {
        let (dir, path) = fresh();
        let mut first = SqliteStore::create(&path).unwrap();
        let put = |body: &str| Batch {
            puts: vec![(Key::new(Space::Job, 1), body.into())],
            deletes: vec![],
        };
        first.commit(Epoch(1), &[put("a"), put("b")]).unwrap();
        first.commit(Epoch(3), &[put("c")]).unwrap();
        let end = Position { epoch: Epoch(3), serial: Serial(3) };
        assert_eq!(first.position().unwrap(), end);

        let mut second = SqliteStore::create(&dir.path().join("other.db")).unwrap();
        let all = first.entries(Serial(0), usize::MAX).unwrap().expect("whole");
        second.append(&all[..1]).unwrap();
        let gap = second.append(&all[2..]).unwrap_err();
        assert!(matches!(gap, StoreError::Gap { .. }), "{gap}");
        second.append(&all[1..]).unwrap();
        assert_eq!(second.position().unwrap(), end);
        assert_eq!(second.get(&Key::new(Space::Job, 1)).unwrap().as_deref(), Some("c"));
        assert_eq!(second.epoch_of(Serial(2)).unwrap(), Some(Epoch(1)));
        assert_eq!(second.epoch_of(Serial(4)).unwrap(), None);
        assert_eq!(first.entries(Serial(0), 1).unwrap().expect("at least one").len(), 1);
        assert_eq!(first.entries(Serial(3), 1).unwrap(), Some(vec![]));
        assert_eq!(first.entries(Serial(9), 1).unwrap(), None, "not there yet");

        let copy = dir.path().join("copy.db");
        SqliteStore::reader(&path).unwrap().copy_to(&copy).unwrap();
        drop(first);
        let mut copied = SqliteStore::open(&copy).unwrap();
        assert_eq!(copied.position().unwrap(), end);
        let error = SqliteStore::open(&copy).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
    }

    #[test]
    fn brings_the_first_format_forward_with_a_copy_beside_it() {
        let (dir, path) = fresh();
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "CREATE TABLE doc (space TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
                 PRIMARY KEY (space, id)) STRICT, WITHOUT ROWID;
             CREATE TABLE log (serial INTEGER PRIMARY KEY, batch TEXT NOT NULL) STRICT;
             INSERT INTO doc VALUES ('job', '7', '{}');
             INSERT INTO log VALUES (41, '{\"puts\":[],\"deletes\":[]}');
             INSERT INTO log VALUES (42, '{\"puts\":[],\"deletes\":[]}');",
        )
        .unwrap();
        db.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        db.pragma_update(None, "user_version", 1).unwrap();
        drop(db);

        let mut store = SqliteStore::open(&path).unwrap();
        let end = Position { epoch: Epoch(0), serial: Serial(42) };
        assert_eq!(store.position().unwrap(), end);
        assert_eq!(store.commit(Epoch(5), &[Batch::default()]).unwrap(), Serial(43));
        drop(store);
        let mut store = SqliteStore::open(&path).unwrap();
        assert_eq!(store.epoch_of(Serial(43)).unwrap(), Some(Epoch(5)));
        assert_eq!(store.get(&Key::new(Space::Job, 7)).unwrap().as_deref(), Some("{}"));

        let old = Connection::open(dir.path().join("config.db.format-1")).unwrap();
        let version: i64 = old.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 1);
    }

    #[test]
    fn large_commits_leave_the_tail_early() {
        let (_dir, path) = fresh();
        let mut store = SqliteStore::create(&path).unwrap();
        let body = "x".repeat(100_000);
        let batch = Batch { puts: vec![(Key::new(Space::Job, 1), body)], deletes: vec![] };
        for _ in 0..10 {
            store.commit(Epoch(1), &vec![batch.clone(); 100]).unwrap();
        }
        let kept = (1..=1000).filter(|n| store.epoch_of(Serial(*n)).unwrap().is_some()).count();
        assert!((300..340).contains(&kept), "{kept} of 100 KB each");
        assert_eq!(store.entries(Serial(999), 1).unwrap().unwrap().len(), 1);
        assert_eq!(store.entries(Serial(1), 1).unwrap(), None);
    }

    #[test]
    fn refuses_a_newer_format() {
        let (_dir, path) = fresh();
        let store = SqliteStore::create(&path).unwrap();
        store.db.pragma_update(None, "user_version", FORMAT + 1).unwrap();
        drop(store);
        let error = SqliteStore::open(&path).unwrap_err();
        assert!(error.to_string().contains("newer version"), "{error}");
    }

    #[test]
    fn refuses_a_damaged_file() {
        use std::io::{Seek, SeekFrom, Write};
        let (_dir, path) = fresh();
        let mut store = SqliteStore::create(&path).unwrap();
        let puts = (0..2000)
            .map(|i| (Key::new(Space::Instance, i), format!("{{\"n\":\"{}\"}}", "x".repeat(200))))
            .collect();
        store.commit(Epoch(1), &[Batch { puts, deletes: vec![] }]).unwrap();
        drop(store);
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(16_384)).unwrap();
        file.write_all(&[0xAA; 32_768]).unwrap();
        drop(file);
        let error = SqliteStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}
