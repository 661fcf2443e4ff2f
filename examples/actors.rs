//! A small game server of services, in the manner of skynet: a lobby, a room for every four
//! players, players as services of their own, and a store that fails now and then and is started
//! anew.
//!
//!     cargo run --release --features actor --example actors -- 1000
//!     cargo run --release --features actor --example actors -- 1000 127.0.0.1:8000
//!
//! With an address it opens the debug console there and goes on until it is ended:
//! `nc 127.0.0.1 8000`, then `help`.

use narrowboat::actor::{Address, CallError, Handle, Service, Supervisor, System, Turn};
use std::time::Duration;

/// Every so many-th game is one whose score the store cannot take.
const BROKEN: u32 = 97;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let players = arguments.next().map_or(Ok(1_000), |argument| argument.parse());
    let Ok(players @ 4..) = players else {
        eprintln!("usage: actors [PLAYERS [ADDRESS OF THE CONSOLE]]");
        std::process::exit(2);
    };
    let console = arguments.next();
    narrowboat::run(move || run(players, console));
}

fn run(players: u32, console: Option<String>) {
    // Reports of failures go to the standard error stream.
    let system = System::new();
    let console = console.map(|address| system.console(address).expect("the address is free"));
    // More failures within a second would be too many, and end the store for good.
    let supervisor = system.supervisor(1_000, Duration::from_secs(1));
    let lobby = open(&system, &supervisor);

    let players: Vec<Address<Player>> =
        (0..players).map(|number| system.spawn(Player { number, lobby: lobby.clone(), points: 0 })).collect();
    players.iter().for_each(|player| player.send(Play).expect("it lives"));
    let points = || players.iter().map(|player| player.call(Points).expect("it lives")).sum::<u64>();
    // A player that answers has knocked at the lobby, which answers when all games are over.
    points();
    let report = lobby.call(Report).expect("it lives");
    let points = points();
    let store: Address<Store> = system.find("store").expect("it is started anew if it fails");
    let info = store.service_info();
    println!("{} players, {} games", players.len(), report.games);
    println!("{} games were stored, {} were lost to failures of the store", report.stored, report.lost);
    println!("the store failed {} times and was started anew {} times", info.failures, info.restarts);
    println!("{points} points in all");
    if let Some(console) = console {
        println!("console: nc {} {}", console.local_addr().ip(), console.local_addr().port());
        loop {
            narrowboat::sleep(Duration::from_secs(3600));
        }
    }
}

/// Starts the services that have names.
fn open(system: &System, supervisor: &Supervisor) -> Address<Lobby> {
    let store = supervisor.spawn_named("store", Store::default).expect("the name is free");
    let lobby = Lobby { store, room: Vec::new(), report: Totals::default() };
    system.spawn_named("lobby", lobby).expect("the name is free")
}

/// Brings players together.
struct Lobby {
    store: Address<Store>,
    room: Vec<Address<Player>>,
    report: Totals,
}

impl Service for Lobby {
    fn info(&self) -> String {
        format!("{} wait for a room, {} games were played", self.room.len(), self.report.games)
    }
}

#[derive(Clone, Copy, Default)]
struct Totals {
    games: u32,
    stored: u32,
    lost: u32,
}

/// A player wants to play.
struct Enter(Address<Player>);

impl Handle<Enter> for Lobby {
    type Reply = ();

    fn handle(turn: &mut Turn<Self>, Enter(player): Enter) {
        turn.room.push(player);
        if turn.room.len() < 4 {
            return;
        }
        let room = std::mem::take(&mut turn.room);
        turn.report.games += 1;
        let game = turn.report.games;
        // While the store works, the lobby lets in others.
        let store = turn.store.clone();
        match turn.call(&store, Save { game, score: room.len() as u64 }) {
            Ok(_) => turn.report.stored += 1,
            Err(CallError::Failed) => turn.report.lost += 1,
            Err(error) => panic!("the store is gone: {error}"),
        }
        for player in &room {
            turn.send(player, Won(1)).expect("players stay");
        }
    }
}

struct Report;

impl Handle<Report> for Lobby {
    type Reply = Totals;

    fn handle(turn: &mut Turn<Self>, _: Report) -> Totals {
        // Games that wait for the store go on meanwhile.
        while turn.report.stored + turn.report.lost < turn.report.games {
            turn.wait(|| narrowboat::sleep(Duration::from_millis(1)));
        }
        turn.report
    }
}

/// A player, with the points that it has won.
struct Player {
    number: u32,
    lobby: Address<Lobby>,
    points: u64,
}

impl Service for Player {
    fn info(&self) -> String {
        format!("player {}: {} points", self.number, self.points)
    }
}

struct Play;

impl Handle<Play> for Player {
    type Reply = ();

    fn handle(turn: &mut Turn<Self>, _: Play) {
        let (lobby, me) = (turn.lobby.clone(), turn.address());
        turn.call(&lobby, Enter(me)).expect("the lobby stays");
    }
}

struct Won(u64);

impl Handle<Won> for Player {
    type Reply = ();

    fn handle(turn: &mut Turn<Self>, Won(points): Won) {
        turn.points += points;
    }
}

struct Points;

impl Handle<Points> for Player {
    type Reply = u64;

    fn handle(turn: &mut Turn<Self>, _: Points) -> u64 {
        turn.points
    }
}

/// Keeps scores. A score that it cannot take is a bug in it, and ends it.
#[derive(Default)]
struct Store(Vec<(u32, u64)>);

impl Service for Store {
    fn info(&self) -> String {
        format!("{} scores since the latest start", self.0.len())
    }

    fn memory(&self) -> usize {
        self.0.capacity() * size_of::<(u32, u64)>()
    }
}

struct Save {
    game: u32,
    score: u64,
}

impl Handle<Save> for Store {
    type Reply = usize;

    fn handle(turn: &mut Turn<Self>, Save { game, score }: Save) -> usize {
        assert!(!game.is_multiple_of(BROKEN), "game {game} has a score that cannot be");
        turn.0.push((game, score));
        turn.0.len()
    }
}
