//! `mysql`, with a connection for each caller, and with its pool, which waits by std's locks.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, PATIENCE, expect};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts};
use std::net::SocketAddr;
use std::sync::Arc;

pub fn options(address: &str) -> Result<OptsBuilder, Failure> {
    let address: SocketAddr = address.parse()?;
    Ok(OptsBuilder::new()
        .ip_or_hostname(Some(address.ip().to_string()))
        .tcp_port(address.port())
        .prefer_socket(false)
        .user(Some("root"))
        .tcp_connect_timeout(Some(PATIENCE))
        .read_timeout(Some(PATIENCE))
        .write_timeout(Some(PATIENCE)))
}

fn ask(connection: &mut impl Queryable, id: usize, n: usize) -> Result<(), Failure> {
    let text = format!("it's {id}");
    let row = connection.exec_first("SELECT ? + 1, ?, SLEEP(0.01)", (n, &text))?;
    expect(row, Some((n + 1, text, 0)))
}

pub fn connections(setting: &Setting) -> Result<Open, Failure> {
    let options = Opts::from(options(setting.addresses.of(Server::Mariadb)?)?);
    Ok(Arc::new(move |id| {
        let mut connection = Conn::new(options.clone())?;
        Ok(Box::new(move |n| ask(&mut connection, id, n)))
    }))
}

pub fn pool(setting: &Setting) -> Result<Open, Failure> {
    let size = PoolConstraints::new(0, 50).ok_or("no such pool")?;
    let pool_options = PoolOpts::default().with_constraints(size);
    let pool = Pool::new(options(setting.addresses.of(Server::Mariadb)?)?.pool_opts(pool_options))?;
    Ok(Arc::new(move |id| {
        let pool = pool.clone();
        Ok(Box::new(move |n| ask(&mut pool.get_conn()?, id, n)))
    }))
}
