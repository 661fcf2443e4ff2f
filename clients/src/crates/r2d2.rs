//! `r2d2`, a pool that waits by the locks of `parking_lot`.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, PATIENCE, expect};
use postgres::{Client, Config, NoTls};
use r2d2::{ManageConnection, Pool};
use std::sync::Arc;

#[cfg(feature = "libsqlite3")]
pub fn sqlite(_: &Setting) -> Result<Open, Failure> {
    let manager = r2d2_sqlite::SqliteConnectionManager::memory();
    let pool = Pool::builder().max_size(10).connection_timeout(PATIENCE).build(manager)?;
    Ok(Arc::new(move |_| {
        let pool = pool.clone();
        Ok(Box::new(move |n| {
            let connection = pool.get()?;
            expect(
                connection.query_row("SELECT ?1 + 1", [n as i64], |row| row.get::<_, i64>(0))?,
                n as i64 + 1,
            )
        }))
    }))
}

struct Clients(Config);

impl ManageConnection for Clients {
    type Connection = Client;
    type Error = postgres::Error;

    fn connect(&self) -> Result<Client, postgres::Error> {
        self.0.connect(NoTls)
    }

    fn is_valid(&self, client: &mut Client) -> Result<(), postgres::Error> {
        client.simple_query("").map(drop)
    }

    fn has_broken(&self, client: &mut Client) -> bool {
        client.is_closed()
    }
}

fn pool(setting: &Setting) -> Result<Pool<Clients>, Failure> {
    let clients = Clients(super::postgres::config(setting.addresses.of(Server::Postgres)?)?);
    Ok(Pool::builder().max_size(50).connection_timeout(PATIENCE).build(clients)?)
}

fn ask(client: &mut Client, n: usize) -> Result<(), Failure> {
    let row = client.query_one("SELECT $1::int8 + 1, pg_sleep(0.01)", &[&(n as i64)])?;
    expect(row.try_get::<_, i64>(0)?, n as i64 + 1)
}

/// A caller that has a connection waits for the server, while others wait for a connection.
pub fn postgres(setting: &Setting) -> Result<Open, Failure> {
    let pool = pool(setting)?;
    Ok(Arc::new(move |_| {
        let pool = pool.clone();
        Ok(Box::new(move |n| ask(&mut *pool.get()?, n)))
    }))
}
