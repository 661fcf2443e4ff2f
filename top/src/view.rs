//! Draws the screen.

use crate::model::{Group, State};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table, TableState, Wrap};

/// The height of one line of charts.
const CHARTS: u16 = 4;
/// A chart is not narrower than this.
const CHART: u16 = 19;

pub(crate) fn draw(frame: &mut Frame<'_>, state: &State) {
    let columns = usize::from((frame.area().width / CHART).clamp(1, 8));
    let rows = state.series.len().div_ceil(columns).min(3) as u16;
    let details = if state.open { Constraint::Percentage(40) } else { Constraint::Length(0) };
    let [head, charts, groups, details, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(rows * CHARTS),
        Constraint::Min(5),
        details,
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(heading(state), head);
    draw_charts(frame, state, charts, columns);
    draw_groups(frame, state, groups);
    if state.open
        && let Some(group) = state.snapshot.groups.get(state.chosen)
    {
        let title = Line::from(format!(" one of {} ", group.count)).bold();
        let text =
            Paragraph::new(frames(group)).wrap(Wrap { trim: false }).block(Block::bordered().title(title));
        frame.render_widget(text, details);
    }
    frame.render_widget(foot_line(state), foot);
}

fn heading(state: &State) -> Line<'static> {
    let mut line = Line::from(format!("Narrowboat at {}  ", state.address)).bold();
    if let Some(trouble) = &state.trouble {
        line.push_span(format!("no answer: {trouble}").red());
    } else if let Some(figures) = &state.figures {
        let text = format!(
            "{} goroutines on {} processors, {} workers{}",
            short(figures.sum("goroutines") as u64),
            figures.processors(),
            figures.workers(),
            if state.stopped { ", stopped" } else { "" }
        );
        line.push_span(text);
    } else {
        line.push_span("connecting".dim());
    }
    line
}

fn draw_charts(frame: &mut Frame<'_>, state: &State, area: Rect, columns: usize) {
    let rows = area.height / CHARTS;
    let lines = Layout::vertical(vec![Constraint::Length(CHARTS); rows.into()]).split(area);
    for (series, line) in state.series.chunks(columns).zip(lines.iter()) {
        let places = Layout::horizontal(vec![Constraint::Fill(1); columns]).split(*line);
        for (series, place) in series.iter().zip(places.iter()) {
            let width = usize::from(place.width.saturating_sub(2));
            let skipped = series.values.len().saturating_sub(width);
            let values: Vec<u64> = series.values.iter().skip(skipped).copied().collect();
            let now = values.last().copied().map(short).unwrap_or_default();
            let title = Line::from(vec![series.name.dim(), " ".into(), now.bold()]);
            let chart = Sparkline::default().data(values).block(Block::bordered().title(title));
            frame.render_widget(chart.style(Style::new().cyan()), *place);
        }
    }
}

fn draw_groups(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let snapshot = &state.snapshot;
    let title = format!(
        " {} of {} goroutines in {} groups, {} ",
        short(snapshot.found),
        short(snapshot.all),
        snapshot.all_groups,
        state.order.words()
    );
    let rows = snapshot.groups.iter().map(|group| {
        let waits = group.reason != "None";
        let what = if waits { group.waits_for.clone() } else { "its turn: ready to run".into() };
        let labels = group.labels.first().map(|set| format!(" [{}]", set.text)).unwrap_or_default();
        Row::new([
            format!("{:>7}", short(group.count)),
            if waits { lasting(group.longest) } else { String::new() },
            what + &labels,
            group.waits_at.clone().unwrap_or_default(),
            group.spawned_at.clone(),
        ])
    });
    let widths = [
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Fill(2),
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(["  count", "longest", "waiting for", "waits at", "spawned at"]).dim())
        .row_highlight_style(Style::new().reversed())
        .block(Block::bordered().title(title));
    let mut place = TableState::default().with_selected(Some(state.chosen));
    frame.render_stateful_widget(table, area, &mut place);
}

/// What is known of one group.
fn frames(group: &Group) -> Text<'static> {
    let mut text = Text::default();
    text.push_line(Line::from(format!("stack: {} bytes at most", group.stack)).dim());
    for thing in &group.things {
        text.push_line(format!("on {thing}"));
    }
    for set in &group.labels {
        text.push_line(format!("labels {} ({})", set.text, set.count));
    }
    for frame in &group.frames {
        text.push_line(Line::from(vec![format!("{}  ", frame.name).into(), frame.at.clone().dim()]));
    }
    if group.frames.is_empty() {
        text.push_line("no backtrace: there are too many groups");
    }
    text
}

fn foot_line(state: &State) -> Line<'static> {
    if state.typing {
        return Line::from(vec!["search: ".bold(), state.search.clone().into(), "_".into()]);
    }
    let keys = "up/down choose  Enter frames  / search  o order  space stop  q quit".dim();
    if state.search.is_empty() {
        return Line::from(keys);
    }
    Line::from(vec![format!("found by \"{}\"  ", state.search).into(), keys])
}

/// A number in few places.
fn short(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{:.1}k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2}M", n as f64 / 1e6),
        _ => format!("{:.2}G", n as f64 / 1e9),
    }
}

fn lasting(ms: u64) -> String {
    match ms {
        0..20 => "now".into(),
        20..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{:.1} s", ms as f64 / 1e3),
        60_000..3_600_000 => format!("{:.1} min", ms as f64 / 60e3),
        _ => format!("{:.1} h", ms as f64 / 3600e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn figures(time: u64, turns: u64) -> String {
        format!(
            r#"{{"time":{time},"stuck":0,"processors":{{"goroutines":[1000,2000],"ready":[3,4],"switches":[{turns},0]}},
                "workers":{{"retired":[0,0,1],"running":[{time},0],"searching":[0,0],"sleeping":[0,{time}]}}}}"#
        )
    }

    const SNAPSHOT: &str = r#"{"all":3000,"found":2999,"all_groups":2,"unstarted":0,"silent":[],"groups":[
        {"reason":"Receive","waits_for":"a message (receive)","waits_at":"src/a.rs:1:2","spawned_at":"src/b.rs:3:4",
         "count":2000,"longest":61000,"woken":0,"stack":500,"resident":1,"things":["channel #1"],
         "labels":[{"text":"request=7","count":2}],"some":[],"frames":[{"name":"work","at":"src/a.rs:1:2"}]},
        {"reason":"None","waits_for":"its turn","waits_at":null,"spawned_at":"src/c.rs:5:6",
         "count":999,"longest":0,"woken":0,"stack":900,"resident":1,"things":[],"some":[],"frames":[]}]}"#;

    fn state() -> State {
        let mut state = State::new("localhost:6060".into());
        for second in 1..=30 {
            let text = figures(second * 1000, second * second * 1000);
            state.add_figures(serde_json::from_str(&text).unwrap());
        }
        state.set_snapshot(serde_json::from_str(SNAPSHOT).unwrap());
        state
    }

    fn screen(state: &State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_screen_has_figures_and_groups() {
        let mut state = state();
        let text = screen(&state, 160, 40);
        for part in [
            "Narrowboat at localhost:6060",
            "3000 goroutines on 2 processors, 2 workers",
            "turns /s 59.0k",
            "workers run % 50",
            "2999 of 3000 goroutines in 2 groups, most first",
            "a message (receive) [request=7]",
            "1.0 min",
            "src/b.rs:3:4",
            "ready to run",
            "q quit",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert!(!text.contains("channel #1"));
        state.open = true;
        let text = screen(&state, 160, 40);
        for part in ["one of 2000", "on channel #1", "labels request=7 (2)", "work  src/a.rs:1:2"] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
    }

    #[test]
    fn groups_change_their_order_and_one_of_them_stays_chosen() {
        let mut state = state();
        state.choose(5);
        assert_eq!(state.chosen, 1);
        state.order = state.order.next().next();
        state.sort();
        assert_eq!(state.snapshot.groups[0].count, 999);
        state.set_snapshot(crate::model::Snapshot::default());
        assert_eq!(state.chosen, 0);
    }

    #[test]
    fn any_size_of_terminal_will_do() {
        let mut state = state();
        state.typing = true;
        state.search = "x".into();
        for (width, height) in [(1, 1), (10, 3), (20, 60), (300, 5), (80, 24)] {
            state.open = !state.open;
            screen(&state, width, height);
        }
        let empty = State::new("localhost:1".into());
        assert!(screen(&empty, 80, 24).contains("connecting"));
    }
}
