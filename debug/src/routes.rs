//! What each path answers.

use crate::connection::Client;
use crate::goroutines::stack;
use crate::json::Json;
use crate::profile::Profile;
use crate::reply::{BINARY, HTML, JSON, Reply, Status, TEXT};
use crate::request::Request;
use crate::server::Server;
use crate::waits::Waits;
use crate::{cpu, figures, leaks, traces};
use narrowboat_runtime::window::WaitProfile;
use narrowboat_runtime::{Labels, blocking, stats, window};
use std::io;
use std::time::Duration;

const PAGE: &str = include_str!("page.html");

/// What `/debug/pprof/` shows: each path with what is there.
const INDEX: [(&str, &str); 9] = [
    ("profile?seconds=10", "what computes, for go tool pprof"),
    ("goroutine?debug=2", "every goroutine, and what it waits for, as text"),
    ("goroutine?debug=1", "the same, as Go prints it"),
    ("goroutine", "the same, for go tool pprof"),
    ("block?seconds=5", "how long goroutines wait, by the place that waits"),
    ("mutex?seconds=5", "how long goroutines wait for locks, by the place that releases them"),
    ("goroutineleak?seconds=5", "groups of goroutines that only grow, and wait for long"),
    ("trace?seconds=1", "a second of the scheduler, for ui.perfetto.dev"),
    ("../../metrics", "figures for Prometheus"),
];

/// What takes its time, and so has no answer without a body.
const LASTING: [&str; 6] = [
    "/api/figures",
    "/debug/pprof/trace",
    "/debug/pprof/profile",
    "/debug/pprof/block",
    "/debug/pprof/mutex",
    "/debug/pprof/goroutineleak",
];

/// Answers a request. False if the connection must not be used any more.
pub(crate) fn answer(request: &Request, client: &Client, server: &Server) -> io::Result<bool> {
    if server.is_local() && request.may_be_from_elsewhere() {
        let reason = "ask for localhost or an address, and not from a page of another site";
        return finish(Reply::because(Status::Forbidden, reason), request, client);
    }
    let reply = match request.path.as_str() {
        path if request.head_only && LASTING.contains(&path) => Reply::of(Status::NotAllowed),
        "/api/figures" => {
            figures::stream(client, server)?;
            return Ok(false);
        }
        "/debug/pprof/trace" => match trace(request, client)? {
            Ok(()) => return Ok(false),
            Err(reply) => reply,
        },
        "/debug/pprof/profile"
        | "/debug/pprof/block"
        | "/debug/pprof/mutex"
        | "/debug/pprof/goroutineleak" => {
            let reply = match request.path.as_str() {
                "/debug/pprof/profile" => of_cpu(request, client)?,
                "/debug/pprof/block" => of_waits(request, client, WaitProfile::Block),
                "/debug/pprof/mutex" => of_waits(request, client, WaitProfile::Mutex),
                _ => of_leaks(request, client),
            };
            match reply {
                Some(reply) => reply,
                // The client has gone.
                None => return Ok(false),
            }
        }
        _ => short(request, server),
    };
    finish(reply, request, client)
}

fn finish(reply: Reply, request: &Request, client: &Client) -> io::Result<bool> {
    reply.send(client, request.head_only, request.keep_alive)?;
    Ok(request.keep_alive)
}

/// Replies that are made at once.
fn short(request: &Request, server: &Server) -> Reply {
    match request.path.as_str() {
        "/" => Reply::new(HTML, PAGE),
        "/metrics" => Reply::new("text/plain; version=0.0.4; charset=utf-8", stats().prometheus()),
        "/api/goroutines" => {
            Reply::new(JSON, server.snapshots.take(request.parameter("q").unwrap_or_default()).json())
        }
        "/api/goroutine" => match request.parameter("id").and_then(|id| id.parse().ok()) {
            Some(id) => Reply::new(JSON, server.snapshots.one(id)),
            None => Reply::because(Status::Bad, "id is the number of a goroutine"),
        },
        "/api/timeline" => Reply::new(JSON, server.timelines.take().as_bytes()),
        "/api/reports" => {
            let reports = window::stuck_reports();
            let text = Json::object(|json| {
                json.key("reports").each(&reports, |json, report| json.text(report));
            });
            Reply::new(JSON, text)
        }
        "/debug/pprof" => Reply::moved("/debug/pprof/"),
        "/debug/pprof/" => Reply::new(HTML, index()),
        "/debug/pprof/goroutine" => match request.parameter("debug") {
            None | Some("0" | "") => Reply::new(BINARY, goroutines(server)).saved_as("goroutine.pb.gz"),
            Some("1") => Reply::new(TEXT, server.snapshots.take("").text()),
            Some(_) => Reply::new(TEXT, server.snapshots.text()),
        },
        _ => Reply::of(Status::NotFound),
    }
}

fn index() -> String {
    let lines = INDEX.map(|(path, what)| format!("<li><a href=\"{path}\">{path}</a>: {what}\n"));
    format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>profiles</title><style>:root{{color-scheme:light dark;font-family:sans-serif}}</style>\n\
         <h1>Profiles of process {}</h1>\n<ul>\n{}</ul>\n<p><a href=\"../../\">The page</a></p>\n",
        std::process::id(),
        lines.concat()
    )
}

/// All goroutines as a profile. Labels are those of
/// the goroutines; two more say what each group waits for, and where it was spawned.
fn goroutines(server: &Server) -> Vec<u8> {
    const UNIT: (&str, &str) = ("goroutine", "count");
    let snapshot = server.snapshots.take("");
    blocking(move || {
        let mut profile = Profile::new(&[UNIT], (UNIT, 1));
        for group in &snapshot.groups {
            let spawned_at = group.spawned_at.to_string();
            let mut sample = |count: usize, labels: &Labels| {
                let ours = [("waits for", group.waits_for), ("spawned at", &*spawned_at)];
                let labels: Vec<_> = labels.iter().chain(ours).collect();
                profile.sample(&[count as u64], &stack(group), &labels);
            };
            let mut others = group.count;
            for (labels, count) in &group.labels {
                sample(*count, labels);
                others -= count;
            }
            if others > 0 {
                sample(others, &Labels::default());
            }
        }
        profile.finish(Duration::ZERO)
    })
}

/// `None` if the client has gone.
fn of_cpu(request: &Request, client: &Client) -> io::Result<Option<Reply>> {
    let (seconds, hz) = match (request.seconds(30), request.number("hz", cpu::USUAL_HZ, cpu::MOST_HZ)) {
        (Ok(seconds), Ok(hz)) => (seconds, hz),
        (Err(status), _) => return Ok(Some(Reply::because(status, SECONDS))),
        (_, Err(status)) => return Ok(Some(Reply::because(status, "hz is a whole number from 1 to 1000"))),
    };
    let taking = match cpu::Taking::begin(hz) {
        Ok(taking) => taking,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return Ok(Some(Reply::because(Status::Conflict, &e.to_string())));
        }
        Err(e) => return Ok(Some(Reply::because(Status::Failed, &e.to_string()))),
    };
    if client.goes_within(Duration::from_secs(seconds)) {
        return Ok(None);
    }
    Ok(Some(Reply::new(BINARY, taking.end()).saved_as("profile.pb.gz")))
}

/// `None` if the client has gone.
fn of_waits(request: &Request, client: &Client, profile: WaitProfile) -> Option<Reply> {
    let name = if profile == WaitProfile::Block { "block.pb.gz" } else { "mutex.pb.gz" };
    let packed = match request.parameter("seconds") {
        None => Waits::all(profile).profile(Duration::ZERO),
        Some(_) => {
            let Ok(seconds) = request.seconds(5) else { return Some(Reply::because(Status::Bad, SECONDS)) };
            let (waits, length) = (Waits::from_now(profile), Duration::from_secs(seconds));
            if client.goes_within(length) {
                return None;
            }
            waits.profile(length)
        }
    };
    Some(Reply::new(BINARY, packed).saved_as(name))
}

/// `None` if the client has gone.
fn of_leaks(request: &Request, client: &Client) -> Option<Reply> {
    const MOST_WAIT: u64 = 1 << 20;
    let (Ok(seconds), Ok(waited)) = (request.seconds(5), request.number("wait", 10, MOST_WAIT)) else {
        return Some(Reply::because(Status::Bad, "seconds and wait are whole numbers of seconds"));
    };
    let length = Duration::from_secs(seconds);
    let groups = leaks::look(client, length, Duration::from_secs(waited))?;
    Some(Reply::new(BINARY, leaks::profile(groups, length)).saved_as("goroutineleak.pb.gz"))
}

const SECONDS: &str = "seconds is a whole number from 1 to 600";

fn trace(request: &Request, client: &Client) -> io::Result<Result<(), Reply>> {
    if request.parameter("recorded").is_some() {
        return traces::send_recorded(client);
    }
    match (request.seconds(1), request.number("mebibytes", 256, 1 << 16)) {
        (Ok(seconds), Ok(most)) => traces::send_trace(client, Duration::from_secs(seconds), most << 20),
        (Err(status), _) => Ok(Err(Reply::because(status, SECONDS))),
        (_, Err(status)) => Ok(Err(Reply::because(status, "mebibytes is a whole number from 1 to 65536"))),
    }
}
