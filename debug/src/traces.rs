//! A trace of some seconds, as a file for the client.

use crate::connection::Client;
use crate::reply::{self, Reply, Status, attachment, head};
use narrowboat_runtime::{blocking, trace};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const NAME: &str = "trace.perfetto-trace";
/// The size of the pieces that the file is read in.
const PIECE: usize = 256 << 10;

/// How often it is looked at how long the file is.
const LOOK: Duration = Duration::from_millis(100);

/// Records for `length`, or until the file has about `most` bytes, and sends the trace. The error of
/// the outer result is the client's.
pub(crate) fn send_trace(client: &Client, length: Duration, most: u64) -> io::Result<Result<(), Reply>> {
    let folder = match Folder::create() {
        Ok(folder) => folder,
        Err(e) => {
            return Ok(Err(Reply::because(Status::Failed, &format!("no place for the file: {e}"))));
        }
    };
    let path = folder.0.join(NAME);
    if let Err(e) = trace::start(&path) {
        let status = if e.kind() == io::ErrorKind::AlreadyExists { Status::Conflict } else { Status::Failed };
        return Ok(Err(Reply::because(status, &e.to_string())));
    }
    // If this goroutine panics, the trace would go on for ever.
    let recording = Recording;
    let until = Instant::now() + length;
    let mut gone = false;
    while !gone {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || path.metadata().is_ok_and(|file| file.len() >= most) {
            break;
        }
        gone = client.goes_within(left.min(LOOK));
    }
    drop(recording);
    if gone {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    send(client, path)
}

/// Sends what the flight recorder holds.
pub(crate) fn send_recorded(client: &Client) -> io::Result<Result<(), Reply>> {
    let folder = match Folder::create() {
        Ok(folder) => folder,
        Err(e) => {
            return Ok(Err(Reply::because(Status::Failed, &format!("no place for the file: {e}"))));
        }
    };
    let path = folder.0.join(NAME);
    match trace::write_recorded(&path) {
        Ok(_) => send(client, path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Ok(Err(Reply::because(Status::NotFound, &e.to_string())))
        }
        Err(e) => Ok(Err(Reply::because(Status::Failed, &e.to_string()))),
    }
}

/// Sends a file.
fn send(client: &Client, path: PathBuf) -> io::Result<Result<(), Reply>> {
    let mut file = match blocking(move || File::open(path)) {
        Ok(file) => file,
        Err(e) => return Ok(Err(Reply::because(Status::Failed, &format!("no trace: {e}")))),
    };
    let size = file.metadata()?.len();
    let lines = format!("Content-Length: {size}\r\n{}\r\n", attachment(NAME));
    client.send(head(Status::Fine, reply::BINARY, &lines, false).as_bytes())?;
    loop {
        let (piece, rest) = blocking(move || {
            let mut piece = Vec::new();
            (file.by_ref().take(PIECE as u64).read_to_end(&mut piece).map(|_| piece), file)
        });
        file = rest;
        match piece? {
            piece if piece.is_empty() => return Ok(Ok(())),
            piece => client.send(&piece)?,
        }
    }
}

/// The trace that is being written, until this is dropped.
struct Recording;

impl Drop for Recording {
    fn drop(&mut self) {
        // A file that is not complete can be read as far as it goes.
        let _ = trace::stop();
    }
}

/// A folder of our own, which other users cannot look into and have not prepared.
struct Folder(PathBuf);

impl Folder {
    fn create() -> io::Result<Folder> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        const TRIES: usize = 100;
        for _ in 0..TRIES {
            let name = format!("narrowboat-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder(path)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        let _ = blocking(move || fs::remove_dir_all(path));
    }
}
