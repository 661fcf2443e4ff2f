//! `narrowboat-top ADDRESS`: what a program of Narrowboat is doing, in a terminal. The program has
//! opened a window at that address.

mod client;
mod model;
mod view;

use model::{Figures, Snapshot, State};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: narrowboat-top ADDRESS\n\
    ADDRESS is that of the window of a program, such as 127.0.0.1:6060, or a port of this machine";

/// How long to wait for a key before the screen is drawn again.
const TICK: Duration = Duration::from_millis(200);
/// How often groups are asked for. An answer that takes long is not asked for often.
const LOOK: Duration = Duration::from_secs(2);
const REST: u32 = 20;
/// How long to wait when there is no answer.
const PAUSE: Duration = Duration::from_secs(1);

/// What the threads that ask tell the one that draws.
enum News {
    Figures(Figures),
    Groups(Snapshot),
    Trouble(String),
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), None) = (arguments.next(), arguments.next()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if address.starts_with('-') {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let address = client::address(&address);
    // An address that nothing listens at is told before the screen is taken over.
    if let Err(e) = client::get(&address, "/api/reports") {
        eprintln!("narrowboat-top: no window at {address}: {e}");
        return ExitCode::FAILURE;
    }
    match run(address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("narrowboat-top: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(address: String) -> io::Result<()> {
    let (news, to_draw) = channel();
    let (searches, to_search) = channel();
    let (figures_from, groups_from, groups_news) = (address.clone(), address.clone(), news.clone());
    thread::spawn(move || ask_for_figures(&figures_from, &news));
    thread::spawn(move || ask_for_groups(&groups_from, &groups_news, &to_search));
    let mut terminal = ratatui::try_init()?;
    let outcome = show(&mut terminal, State::new(address), &to_draw, &searches);
    ratatui::restore();
    outcome
}

fn ask_for_figures(address: &str, news: &Sender<News>) {
    loop {
        let each = |data: &str| match serde_json::from_str(data) {
            Ok(figures) => news.send(News::Figures(figures)).is_ok(),
            Err(e) => news.send(News::Trouble(format!("figures: {e}"))).is_ok(),
        };
        if let Err(e) = client::events(address, "/api/figures", each)
            && news.send(News::Trouble(e.to_string())).is_err()
        {
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// Asks for the groups now and then, and when there is another text to search for. Ends when the
/// sender of these has gone.
fn ask_for_groups(address: &str, news: &Sender<News>, searches: &Receiver<String>) {
    let mut text = String::new();
    loop {
        let begun = Instant::now();
        let path = format!("/api/goroutines?q={}", client::encoded(&text));
        let answer = client::get(address, &path)
            .and_then(|answer| serde_json::from_str(&answer).map_err(io::Error::from))
            .map_or_else(|e| News::Trouble(e.to_string()), News::Groups);
        if news.send(answer).is_err() {
            return;
        }
        match searches.recv_timeout(LOOK.max(begun.elapsed() * REST)) {
            Ok(other) => text = searches.try_iter().last().unwrap_or(other),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    mut state: State,
    news: &Receiver<News>,
    searches: &Sender<String>,
) -> io::Result<()> {
    loop {
        for what in news.try_iter() {
            match what {
                News::Figures(figures) => {
                    state.trouble = None;
                    if !state.stopped {
                        state.add_figures(figures);
                    }
                }
                News::Groups(snapshot) if !state.stopped => state.set_snapshot(snapshot),
                News::Groups(_) => {}
                News::Trouble(trouble) => state.trouble = Some(trouble),
            }
        }
        terminal.draw(|frame| view::draw(frame, &state))?;
        if event::poll(TICK)?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
            && !answer_key(&mut state, key, searches)
        {
            return Ok(());
        }
    }
}

/// Does what a key says. False if that is to end.
fn answer_key(state: &mut State, key: KeyEvent, searches: &Sender<String>) -> bool {
    const PAGE: isize = 10;
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        return false;
    }
    if state.typing {
        match key.code {
            KeyCode::Char(character) => state.search.push(character),
            KeyCode::Backspace => drop(state.search.pop()),
            KeyCode::Esc => {
                state.search.clear();
                state.typing = false;
            }
            KeyCode::Enter => state.typing = false,
            _ => {}
        }
        // The thread that asks lives as long as this one.
        let _ = searches.send(state.search.clone());
        return true;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('/') => state.typing = true,
        KeyCode::Char(' ') => state.stopped = !state.stopped,
        KeyCode::Char('o') => {
            state.order = state.order.next();
            state.sort();
        }
        KeyCode::Enter => state.open = !state.open,
        KeyCode::Up | KeyCode::Char('k') => state.choose(-1),
        KeyCode::Down | KeyCode::Char('j') => state.choose(1),
        KeyCode::PageUp => state.choose(-PAGE),
        KeyCode::PageDown => state.choose(PAGE),
        _ => {}
    }
    true
}
