//! `sqlx` with PostgreSQL: one pool for all.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, PATIENCE, expect};
use narrowboat::future::FutureExt;
use sqlx::postgres::PgPoolOptions;
use std::sync::Arc;

pub fn pool(setting: &Setting) -> Result<Open, Failure> {
    let url =
        format!("postgres://postgres@{}/postgres?sslmode=disable", setting.addresses.of(Server::Postgres)?);
    let pool = PgPoolOptions::new().max_connections(50).acquire_timeout(PATIENCE).connect(&url).wait()?;
    Ok(Arc::new(move |_| {
        let pool = pool.clone();
        Ok(Box::new(move |n| {
            let query = sqlx::query_scalar::<_, i64>("SELECT $1::int8 + 1 FROM pg_sleep(0.01)");
            expect(query.bind(n as i64).fetch_one(&pool).wait()?, n as i64 + 1)
        }))
    }))
}
