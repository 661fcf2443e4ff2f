//! Servers behind networks that lose, delay, double, damage, reorder and reset, and that fall apart
//! for a while. Whatever a client gets is right; when the network is well again, the server serves
//! everything that comes, has all that it has acknowledged, and no connections are left behind.
//!
//! Client and server have a network namespace each, and this process is the cable.
#![cfg(target_os = "linux")]

#[path = "../injection/clients.rs"]
mod clients;
mod interface;
mod link;

use clients::Used;
use interface::{enter_network, isolated};
use link::{Link, Rules};
use narrowboat_testing::{number_from_env, this_binary};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

/// Set in the process that is the cable.
const INSIDE: &str = "NARROWBOAT_NETWORK_OF";

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const WELL: Rules = Rules {
    lost: 0,
    doubled: 0,
    damaged: 0,
    reset: 0,
    delay: Duration::ZERO,
    jitter: Duration::ZERO,
    partition: false,
};

/// Networks, and whether connections may end in them by force.
const NETWORKS: [(&str, Rules, bool); 7] = [
    ("loses one packet in twenty", Rules { lost: 50, ..WELL }, false),
    ("is slow", Rules { delay: ms(40), ..WELL }, false),
    ("changes the order", Rules { delay: ms(1), jitter: ms(15), ..WELL }, false),
    ("doubles one in ten", Rules { doubled: 100, jitter: ms(3), ..WELL }, false),
    ("damages one in fifty", Rules { damaged: 20, ..WELL }, false),
    ("resets one in a hundred", Rules { reset: 10, ..WELL }, true),
    (
        "does all of it",
        Rules { lost: 20, doubled: 20, damaged: 10, reset: 3, delay: ms(3), jitter: ms(9), ..WELL },
        true,
    ),
];

#[test]
#[ignore = "takes half a minute, in which it mostly waits; .ci/networks.sh runs it"]
fn servers_live_with_networks_that_do_not() {
    let servers = ["http_server", "redis_like", "proxy"].map(|server| {
        let mut command = this_binary();
        command.args(["--exact", "servers_live_with_networks_that_do_not", "--ignored", "--nocapture"]);
        (server, command)
    });
    if let Ok(server) = std::env::var(INSIDE) {
        return be_the_cable(&server);
    }
    let children = servers.map(|(server, mut command)| {
        isolated(command.env(INSIDE, server));
        (server, command.spawn())
    });
    for (server, child) in children {
        match child {
            Ok(mut child) => assert!(child.wait().expect("it is our child").success(), "{server}: see above"),
            Err(error) => eprintln!("SKIPPED: no network of its own for {server}: {error}"),
        }
    }
}

/// Killed when the test is over, however it ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many sockets a server has.
fn sockets_of(Server(server): &Server) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", server.id())).expect("the server runs");
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// Starts an example and waits until it says where it listens.
fn start(name: &str, arguments: &[&str]) -> (Server, SocketAddr) {
    let mut path: PathBuf = std::env::current_exe().expect("a test knows its binary");
    path.pop();
    path.pop();
    path.extend(["examples", name]);
    let mut command = Command::new(path);
    let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("examples are built");
    let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
    let line = lines.next().expect("says something").expect("says it");
    // The pipe stays open, and is never full: they say nothing more, or little.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    (Server(child), line.strip_prefix("listening on ").expect("listens").parse().expect("an address"))
}

fn be_the_cable(name: &str) {
    let mtu = number_from_env("NARROWBOAT_MTU").unwrap_or(if name == "proxy" { 576 } else { 1500 }) as i32;
    let (sender, receiver) = std::sync::mpsc::channel();
    let name_of_server = name.to_string();
    // Namespaces are of threads: what a thread starts is in its own.
    let in_its_network = move || {
        let end = enter_network(SERVER, mtu)?;
        let http = ["--idle-timeout", "8", "--request-timeout", "10", "--grace", "1", "10.99.0.1:0"];
        let (servers, address) = match name_of_server.as_str() {
            "proxy" => {
                let (target, address) = start("http_server", &http[..6]);
                let target_address = address.to_string();
                let (proxy, address) = start("proxy", &["10.99.0.1:9000", &target_address]);
                (vec![proxy, target], address)
            }
            "http_server" => {
                let (server, address) = start("http_server", &http);
                (vec![server], address)
            }
            other => {
                let (server, address) = start(other, &["10.99.0.1:0"]);
                (vec![server], address)
            }
        };
        sender.send((end, servers, address)).expect("is waited for");
        std::io::Result::Ok(())
    };
    let started = std::thread::spawn(in_its_network).join().expect("does not panic");
    let end = started.and_then(|()| enter_network(CLIENT, mtu));
    let end = match end {
        Ok(end) => end,
        Err(error) => {
            eprintln!("SKIPPED: no interface for {name}: {error}");
            return;
        }
    };
    let (other, mut servers, address) = receiver.recv().expect("was sent");
    let link = Link::between([end, other], number_from_env("NARROWBOAT_NETWORK_SEED").unwrap_or(1) as u64);
    let exercise = || match name {
        "redis_like" => clients::use_redis(address),
        _ => clients::use_http(address),
    };
    let sockets = sockets_of(&servers[0]);
    let began = Instant::now();
    let is_well = |what: &str| {
        link.set(WELL);
        let used = exercise().unwrap_or_else(|wrong| panic!("{name}, {what}, and well again: {wrong}"));
        let Used { refused, late, last } = used;
        assert!(refused == 0 && late == 0 && last, "{name}, {what}, and well again: {refused} {late} {last}");
    };
    is_well("at first");
    for (what, rules, may_end) in NETWORKS {
        link.set(rules);
        let used = exercise().unwrap_or_else(|wrong| panic!("{name} on a network that {what}: {wrong}"));
        println!("{name} on a network that {what}: {} ended, {} late", used.refused, used.late);
        assert!(may_end || used.refused == 0, "{name} on a network that {what}: {} ended", used.refused);
        is_well(what);
    }
    // In the middle of the conversations, for longer than a retransmission or two.
    std::thread::scope(|scope| {
        let user = scope.spawn(exercise);
        for _ in 0..2 {
            std::thread::sleep(ms(30));
            link.set(Rules { partition: true, ..WELL });
            std::thread::sleep(ms(800));
            link.set(WELL);
        }
        let used =
            user.join().expect("does not panic").unwrap_or_else(|wrong| panic!("{name}, apart: {wrong}"));
        println!("{name} on a network that falls apart: {} ended, {} late", used.refused, used.late);
        assert_eq!(used.refused, 0, "{name}: a network that falls apart ends no connections");
    });
    is_well("fell apart");
    if name != "redis_like" {
        // It waits for a client that is gone, without a limit, as Redis does.
        narrowboat_testing::eventually("no connection is left", || sockets_of(&servers[0]) <= sockets);
    }
    let [packets, harmed] = link.end();
    println!("{name}: {packets} packets, {harmed} harmed, {} ms", began.elapsed().as_millis());
    for server in &mut servers {
        assert!(server.0.try_wait().expect("it is our child").is_none(), "{name} has ended");
    }
}
