//! The embedded store: one SQLite file.
//!
//! Write-ahead log with `synchronous=FULL`: a commit is on disk before it is acknowledged, for one
//! `fsync`. The only module that touches the database.

use super::{Batch, Contents, Key, Since, Space, Store, StoreError};
use roost_proto::ids::Serial;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// "Rost" as a number: SQLite keeps it in the file's header.
const APPLICATION_ID: i64 = 0x526f_7374;
/// The format this program writes. Older ones are migrated when opened.
const FORMAT: i64 = 1;
/// Batches kept for watchers and followers that fell behind.
const TAIL: i64 = 10_000;
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
        batch  TEXT NOT NULL
    ) STRICT;
";

/// See the module.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    db: Connection,
    serial: Serial,
    cut: u64,
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
        store.check()?;
        let newest: Option<i64> = store
            .db
            .query_row("SELECT max(serial) FROM log", [], |row| row.get(0))
            .map_err(|e| store.failed(&e))?;
        store.serial = Serial(newest.unwrap_or(0).unsigned_abs());
        Ok(store)
    }

    fn connect(path: &Path) -> Result<SqliteStore, StoreError> {
        let failed = |e: &rusqlite::Error| StoreError::Failed {
            path: path.to_owned(),
            detail: e.to_string(),
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(|e| failed(&e))?;
        // A database that is not one shows here first.
        let configure = || {
            db.pragma_update(None, "journal_mode", "WAL")?;
            db.pragma_update(None, "synchronous", "FULL")?;
            db.busy_timeout(std::time::Duration::from_secs(5))?;
            // Nobody else reads this file: no need to share its cache.
            db.pragma_update(None, "locking_mode", "EXCLUSIVE")
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
        Ok(SqliteStore { path: path.to_owned(), db, serial: Serial(0), cut: 0 })
    }

    fn check(&self) -> Result<(), StoreError> {
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
        Ok(())
    }

    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                StoreError::Damaged { path: self.path.clone(), detail: error.to_string() }
            }
            _ => StoreError::Failed { path: self.path.clone(), detail: error.to_string() },
        }
    }

    fn write(&mut self, batches: &[Batch]) -> Result<Serial, rusqlite::Error> {
        let cut = self.cut / CUT_EVERY != (self.cut + batches.len() as u64) / CUT_EVERY;
        let tx = self.db.transaction()?;
        let mut serial = self.serial.0;
        {
            let mut put = tx.prepare_cached(
                "INSERT INTO doc (space, id, body) VALUES (?1, ?2, ?3)
                 ON CONFLICT (space, id) DO UPDATE SET body = excluded.body",
            )?;
            let mut delete = tx.prepare_cached("DELETE FROM doc WHERE space = ?1 AND id = ?2")?;
            let mut log = tx.prepare_cached("INSERT INTO log (serial, batch) VALUES (?1, ?2)")?;
            for batch in batches {
                serial += 1;
                for (key, body) in &batch.puts {
                    put.execute(params![key.space.as_str(), key.id, body])?;
                }
                for key in &batch.deletes {
                    delete.execute(params![key.space.as_str(), key.id])?;
                }
                let text = serde_json::to_string(batch)
                    .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
                log.execute(params![serial as i64, text])?;
            }
            if cut {
                tx.execute("DELETE FROM log WHERE serial < ?1", [serial as i64 - TAIL])?;
            }
        }
        tx.commit()?;
        self.cut += batches.len() as u64;
        Ok(Serial(serial))
    }

    fn read_documents(&self) -> Result<Vec<(Key, String)>, StoreError> {
        let read = || -> Result<Vec<(String, String, String)>, rusqlite::Error> {
            let mut all =
                self.db.prepare("SELECT space, id, body FROM doc WHERE space <> 'archive'")?;
            let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect()
        };
        let rows = read().map_err(|e| self.failed(&e))?;
        rows.into_iter()
            .map(|(space, id, body)| {
                let space = Space::of(&space).ok_or_else(|| StoreError::Damaged {
                    path: self.path.clone(),
                    detail: format!("it has documents of an unknown kind '{space}'"),
                })?;
                Ok((Key { space, id }, body))
            })
            .collect()
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Contents, StoreError> {
        Ok(Contents { serial: self.serial, documents: self.read_documents()? })
    }

    fn commit(&mut self, batches: &[Batch]) -> Result<Serial, StoreError> {
        match self.write(batches) {
            Ok(serial) => {
                self.serial = serial;
                Ok(serial)
            }
            Err(e) => Err(self.failed(&e)),
        }
    }

    fn since(&mut self, serial: Serial) -> Result<Since, StoreError> {
        let read = || -> Result<Vec<(i64, String)>, rusqlite::Error> {
            let mut tail = self
                .db
                .prepare_cached("SELECT serial, batch FROM log WHERE serial > ?1 ORDER BY 1")?;
            let rows = tail.query_map([serial.0 as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        };
        let rows = read().map_err(|e| self.failed(&e))?;
        let complete = match rows.first() {
            Some((first, _)) => first.unsigned_abs() == serial.0 + 1,
            None => serial == self.serial,
        };
        if !complete || serial.0 == 0 {
            return Ok(Since::Snapshot(self.load()?));
        }
        let mut tail = Vec::with_capacity(rows.len());
        for (serial, text) in rows {
            let batch = serde_json::from_str(&text).map_err(|e| StoreError::Damaged {
                path: self.path.clone(),
                detail: format!("commit {serial} in its log is unreadable: {e}"),
            })?;
            tail.push((Serial(serial.unsigned_abs()), batch));
        }
        Ok(Since::Tail(tail))
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
        let read = || -> Result<Vec<(String, String)>, rusqlite::Error> {
            let mut all =
                self.db.prepare_cached("SELECT id, body FROM doc WHERE space = ?1 ORDER BY id")?;
            let rows = all.query_map([space.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        };
        read().map_err(|e| self.failed(&e))
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
        store.commit(&[Batch::default()]).unwrap();
        for file in fs::read_dir(dir.path()).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
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
        store.commit(&[Batch { puts, deletes: vec![] }]).unwrap();
        drop(store);
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(16_384)).unwrap();
        file.write_all(&[0xAA; 32_768]).unwrap();
        drop(file);
        let error = SqliteStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}
