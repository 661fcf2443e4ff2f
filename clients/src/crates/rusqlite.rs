//! `rusqlite` over libsqlite3, a library of C: its locks, and its sleeps while another writes.

use super::Setting;
use crate::work::{Failure, Open, PATIENCE, expect};
use rusqlite::{Connection, OpenFlags, params};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub fn rows(setting: &Setting) -> Result<Open, Failure> {
    static KEYS: AtomicU64 = AtomicU64::new(1);
    let file = setting.addresses.folder()?.join(format!("rows.{}.sqlite", std::process::id()));
    // A lock of its own around each connection, which libsqlite3 takes more than once: as its
    // default is, which rusqlite turns off.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_FULL_MUTEX;
    let connect = move || -> Result<Connection, Failure> {
        let connection = Connection::open_with_flags(&file, flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.execute_batch("PRAGMA synchronous = OFF")?;
        Ok(connection)
    };
    let first = connect()?;
    first.execute_batch(
        "PRAGMA journal_mode = WAL; CREATE TABLE things (key INTEGER PRIMARY KEY, text TEXT)",
    )?;
    Ok(Arc::new(move |id| {
        let connection = connect()?;
        Ok(Box::new(move |n| {
            let key = KEYS.fetch_add(1, Ordering::Relaxed) as i64;
            let text = format!("{id} {n}");
            connection.execute("INSERT INTO things VALUES (?1, ?2)", params![key, text])?;
            let sql = "SELECT text FROM things WHERE key = ?1";
            expect(connection.query_row(sql, [key], |row| row.get::<_, String>(0))?, text)
        }))
    }))
}
