//! `postgres`, each of whose connections runs a tokio runtime of its own on the calling thread.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, PATIENCE, expect};
use postgres::{Client, Config, NoTls};
use std::sync::Arc;

pub fn config(address: &str) -> Result<Config, Failure> {
    let (host, port) = address.rsplit_once(':').ok_or("no port")?;
    let mut config = Config::new();
    config.host(host).port(port.parse()?).user("postgres").dbname("postgres").connect_timeout(PATIENCE);
    Ok(config)
}

pub fn ask(client: &mut Client, statement: &postgres::Statement, n: usize) -> Result<(), Failure> {
    let row = client.query_one(statement, &[&(n as i64)])?;
    expect(row.try_get::<_, i64>(0)?, n as i64 + 1)
}

pub fn connections(setting: &Setting) -> Result<Open, Failure> {
    let config = config(setting.addresses.of(Server::Postgres)?)?;
    Ok(Arc::new(move |_| {
        let mut client = config.connect(NoTls)?;
        let statement = client.prepare("SELECT $1::int8 + 1, pg_sleep(0.1)")?;
        Ok(Box::new(move |n| ask(&mut client, &statement, n)))
    }))
}
