//! The blocking client of `redis`.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, PATIENCE, expect};
use redis::{Client, Connection, cmd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn connect(client: &Client) -> Result<Connection, Failure> {
    let connection = client.get_connection()?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

fn client(setting: &Setting) -> Result<Client, Failure> {
    Ok(Client::open(format!("redis://{}/", setting.addresses.of(Server::Redis)?))?)
}

pub fn set_and_get(setting: &Setting) -> Result<Open, Failure> {
    let client = client(setting)?;
    Ok(Arc::new(move |id| {
        let mut connection = connect(&client)?;
        Ok(Box::new(move |n| {
            let (key, value) = (format!("key:{id}"), format!("{id} {n} {}", "x".repeat(n % 500)));
            cmd("SET").arg(&key).arg(&value).exec(&mut connection)?;
            expect(cmd("GET").arg(&key).query::<String>(&mut connection)?, value)
        }))
    }))
}

/// A caller and its peer wait for each other through the server. If one of them held the other's
/// processor, neither would go on.
pub fn blpop(setting: &Setting) -> Result<Open, Failure> {
    static LISTS: AtomicUsize = AtomicUsize::new(0);
    let client = client(setting)?;
    let mode = setting.mode;
    Ok(Arc::new(move |_| {
        let list = format!("{}:{}", std::process::id(), LISTS.fetch_add(1, Ordering::Relaxed));
        let (mut ours, mut peers) = (connect(&client)?, connect(&client)?);
        let (question, answer) = (format!("question:{list}"), format!("answer:{list}"));
        let asker = Arc::new(());
        let asked = Arc::downgrade(&asker);
        {
            let (question, answer) = (question.clone(), answer.clone());
            mode.spawn(move || {
                while asked.strong_count() > 0 {
                    let found =
                        cmd("BLPOP").arg(&question).arg(2).query::<Option<(String, usize)>>(&mut peers);
                    match found {
                        Ok(Some((_, n))) => {
                            if cmd("RPUSH").arg(&answer).arg(n + 1).exec(&mut peers).is_err() {
                                return;
                            }
                        }
                        Ok(None) => {}
                        Err(_) => return,
                    }
                }
            });
        }
        Ok(Box::new(move |n| {
            let _alive = &asker;
            cmd("RPUSH").arg(&question).arg(n).exec(&mut ours)?;
            let answer = cmd("BLPOP").arg(&answer).arg(20).query::<Option<(String, usize)>>(&mut ours)?;
            expect(answer.map(|(_, n)| n), Some(n + 1))
        }))
    }))
}
