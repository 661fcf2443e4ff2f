//! Answers to queries, from the names that were given and from the system's resolver.

use super::message::{self, A, AAAA, Code, Question};
use narrowboat::net::lookup_host;
use narrowboat::sync::{OwnedSemaphorePermit, Semaphore};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// How many names are resolved at once. Further queries are dropped; their clients ask again.
const MAX_LOOKUPS: usize = 1_000;

pub struct Resolver {
    names: HashMap<String, Vec<IpAddr>>,
    permits: Arc<Semaphore>,
}

/// What is to be done about a query.
pub enum Step {
    /// To send this.
    Reply(Vec<u8>),
    /// To look up a name, which may take long.
    LookUp(Lookup),
    Nothing,
}

/// A name that is to be looked up, for a query.
pub struct Lookup {
    query: Vec<u8>,
    question: Question,
    longest: usize,
    _permit: OwnedSemaphorePermit,
}

impl Resolver {
    /// Parses arguments of the form `NAME=IP`, and collects the addresses of each name.
    pub fn of(arguments: &[String]) -> Option<Resolver> {
        let mut names: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for argument in arguments {
            let (name, address) = argument.split_once('=')?;
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            names.entry(name).or_default().push(address.parse().ok()?);
        }
        Some(Resolver { names, permits: Arc::new(Semaphore::new(MAX_LOOKUPS)) })
    }

    /// Begins to answer a query with at most `longest` bytes.
    pub fn begin(&self, query: &[u8], longest: usize) -> Step {
        if !message::is_query(query) {
            return Step::Nothing;
        }
        let question = match message::question(query) {
            Ok(question) => question,
            Err(code) => return Step::Reply(message::reply(query, None, code, &[], longest)),
        };
        let reply = |code, addresses: &[IpAddr]| {
            Step::Reply(message::reply(query, Some(&question), code, addresses, longest))
        };
        if let Some(addresses) = self.names.get(&question.name) {
            return reply(Code::NoError, addresses);
        }
        // The system's resolver knows addresses and nothing else. The root has none.
        match question.kind {
            A | AAAA if question.name.is_empty() => return reply(Code::NoError, &[]),
            A | AAAA => {}
            _ => return reply(Code::NotImplemented, &[]),
        }
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => Step::LookUp(Lookup { query: query.to_vec(), question, longest, _permit: permit }),
            Err(_) => Step::Nothing,
        }
    }
}

impl Lookup {
    /// Asks the system's resolver, and makes the reply. The resolver does not distinguish a name
    /// that does not exist from one that it could not look up.
    pub fn finish(self) -> Vec<u8> {
        let (code, addresses) = match lookup_host(&format!("{}:0", self.question.name)) {
            Ok(found) => (Code::NoError, found.map(|address| address.ip()).collect()),
            Err(_) => (Code::ServerFailure, Vec::new()),
        };
        message::reply(&self.query, Some(&self.question), code, &addresses, self.longest)
    }
}
