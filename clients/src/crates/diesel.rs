//! `diesel` over libpq, a library of C that waits in `poll`.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, expect};
use diesel::sql_types::BigInt;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, sql_query};
use std::sync::Arc;

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = BigInt)]
    answer: i64,
}

pub fn connections(setting: &Setting) -> Result<Open, Failure> {
    let url = format!(
        "postgres://postgres@{}/postgres?connect_timeout=30",
        setting.addresses.of(Server::Postgres)?
    );
    Ok(Arc::new(move |_| {
        let mut connection = PgConnection::establish(&url)?;
        Ok(Box::new(move |n| {
            let rows = sql_query("SELECT $1 + 1 AS answer FROM pg_sleep(0.1)")
                .bind::<BigInt, _>(n as i64)
                .load::<Answer>(&mut connection)?;
            expect(rows.iter().map(|row| row.answer).collect::<Vec<_>>(), vec![n as i64 + 1])
        }))
    }))
}
