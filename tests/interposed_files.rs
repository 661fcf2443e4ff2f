//! Calls on files, locks of files, transfers in the kernel and names of hosts park the goroutine that
//! makes them, where they would wait.

use narrowboat::go;
use narrowboat_testing::{again, eventually, number_from_env, parked_in_libc, program, sized};
use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::mem;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

fn errno() -> Option<i32> {
    io::Error::last_os_error().raw_os_error()
}

/// A file of its own for each test, which goes when the test ends.
struct Path(PathBuf);

impl Path {
    fn new() -> Path {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("narrowboat-interposed-files-{}-{n}", std::process::id());
        Path(std::env::temp_dir().join(name))
    }

    fn open(&self) -> File {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.0).unwrap()
    }

    fn with(bytes: &[u8]) -> Path {
        let path = Path::new();
        fs::write(&path.0, bytes).unwrap();
        path
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n * 31 + n / 251) as u8).collect()
}

/// The blocking ends of a pipe.
fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: there is room for both; they are new.
    unsafe {
        use std::os::fd::FromRawFd;
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    }
}

/// Each opens the file for itself, so the locks exclude each other, though one processor may carry all.
fn excludes(lock: fn(RawFd) -> i32, unlock: fn(RawFd) -> i32) {
    let count = sized(100, 30);
    program(move || {
        let path = Arc::new(Path::new());
        let inside = Arc::new(AtomicUsize::new(0));
        let (tries, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let holders: Vec<_> = (0..count)
            .map(|n| {
                let (path, inside) = (path.clone(), inside.clone());
                let (tries, most) = (tries.clone(), most.clone());
                go!(move || {
                    let file = path.open();
                    let trying = tries.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(trying, Ordering::SeqCst);
                    assert_eq!(lock(file.as_raw_fd()), 0);
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                    // What is held across a park, and across a call that needs the pool.
                    narrowboat::sleep(Duration::from_micros(300));
                    if n % 8 == 0 {
                        file.sync_all().unwrap();
                    }
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                    assert_eq!(unlock(file.as_raw_fd()), 0);
                    tries.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        holders.into_iter().for_each(|holder| holder.join().unwrap());
        assert!(most.load(Ordering::SeqCst) > count / 2, "they did not wait side by side");
    });
}

fn open_file_lock(kind: i32, command: i32) -> impl Fn(RawFd) -> i32 {
    move |file| {
        // SAFETY: numbers, for which zero is a value; the lock can be read.
        unsafe {
            let mut lock: libc::flock = mem::zeroed();
            lock.l_type = kind as _;
            libc::fcntl(file, command, &lock)
        }
    }
}

#[test]
fn locks_of_whole_files_exclude() {
    // SAFETY: no pointers.
    excludes(
        |file| unsafe { libc::flock(file, libc::LOCK_EX) },
        |file| unsafe { libc::flock(file, libc::LOCK_UN) },
    );
}

#[test]
fn locks_of_open_files_exclude() {
    excludes(
        |file| open_file_lock(libc::F_WRLCK, libc::F_OFD_SETLKW)(file),
        |file| open_file_lock(libc::F_UNLCK, libc::F_OFD_SETLK)(file),
    );
}

#[test]
fn locks_of_stds_exclude() {
    program(|| {
        let path = Arc::new(Path::new());
        let first = path.open();
        first.lock().unwrap();
        let second = go!(move || path.open().lock().unwrap());
        eventually("it waits", || parked_in_libc() >= 1);
        assert!(!second.is_finished());
        first.unlock().unwrap();
        second.join().unwrap();
    });
}

/// The lock's waiters, more than the pool has threads, leave it a thread for the holder.
#[test]
fn waits_for_locks_leave_threads_of_the_pool() {
    if number_from_env("NARROWBOAT_BLOCKING_THREADS").is_some() {
        // SAFETY: no pointers.
        return excludes(|file| unsafe { libc::flock(file, libc::LOCK_EX) }, |_| 0);
    }
    for threads in ["1", "2", "5"] {
        again(
            "waits_for_locks_leave_threads_of_the_pool",
            &[("NARROWBOAT_BLOCKING_THREADS", threads), ("NARROWBOAT_WORKERS", "1")],
        );
    }
}

/// These belong to the process, so another one has to hold them.
#[test]
fn locks_of_processes_are_waited_for() {
    program(|| {
        type Lock = fn(RawFd) -> i32;
        let ways: [Lock; 2] = [
            |file| open_file_lock(libc::F_WRLCK, libc::F_SETLKW)(file),
            // SAFETY: no pointers.
            |file| unsafe { libc::lockf(file, libc::F_LOCK, 0) },
        ];
        for lock in ways {
            let path = Path::new();
            let file = path.open();
            let (mut ready, mut told) = pipe();
            let (mut go_on, mut end) = pipe();
            // SAFETY: the child makes system calls alone.
            let child = unsafe { libc::fork() };
            if child == 0 {
                drop(end);
                lock(file.as_raw_fd());
                let _ = told.write(b"x");
                let _ = go_on.read(&mut [0]);
                // SAFETY: it ends.
                unsafe { libc::_exit(0) };
            }
            narrowboat::blocking(move || ready.read(&mut [0]).unwrap());
            // SAFETY: no pointers.
            assert_eq!(unsafe { libc::lockf(file.as_raw_fd(), libc::F_TLOCK, 0) }, -1);
            assert_eq!(open_file_lock(libc::F_WRLCK, libc::F_SETLK)(file.as_raw_fd()), -1);
            let waiter = go!(move || lock(file.as_raw_fd()));
            eventually("it waits", || parked_in_libc() >= 1);
            end.write_all(b"x").unwrap();
            assert_eq!(waiter.join().unwrap(), 0);
            // SAFETY: no status is asked for.
            assert_eq!(unsafe { libc::waitpid(child, ptr::null_mut(), 0) }, child);
        }
    });
}

#[test]
fn what_the_kernel_refuses_is_refused() {
    program(|| {
        let path = Path::new();
        let file = path.open();
        let fails = |answer: i64, error| {
            assert_eq!(answer, -1);
            assert_eq!(errno(), Some(error));
        };
        let descriptor = file.as_raw_fd();
        let (end, _other) = pipe();
        // SAFETY: pointers are valid, or for the kernel to refuse.
        unsafe {
            fails(libc::fsync(-1).into(), libc::EBADF);
            fails(libc::fdatasync(end.as_raw_fd()).into(), libc::EINVAL);
            fails(libc::syncfs(-1).into(), libc::EBADF);
            fails(libc::flock(-1, libc::LOCK_EX).into(), libc::EBADF);
            fails(libc::flock(descriptor, 0).into(), libc::EINVAL);
            fails(libc::fcntl(-1, libc::F_SETLKW, &mem::zeroed::<libc::flock>()).into(), libc::EBADF);
            fails(libc::fcntl(descriptor, libc::F_SETLKW, ptr::null::<libc::flock>()).into(), libc::EFAULT);
            fails(libc::fcntl(-1, libc::F_GETFL).into(), libc::EBADF);
            fails(libc::sendfile(-1, descriptor, ptr::null_mut(), 1) as i64, libc::EBADF);
            fails(libc::tee(descriptor, descriptor, 1, 0) as i64, libc::EINVAL);
            let none = ptr::null_mut();
            fails(libc::splice(descriptor, none, descriptor, none, 1, 0) as i64, libc::EINVAL);
            fails(
                libc::copy_file_range(end.as_raw_fd(), none, descriptor, none, 1 << 20, 0) as i64,
                libc::EINVAL,
            );
            let (socket, _peer) = UnixStream::pair().unwrap();
            let (socket, (_from, to)) = (socket.as_raw_fd(), pipe());
            let (from, to) = (end.as_raw_fd(), to.as_raw_fd());
            fails(libc::sendfile(socket, from, none, 1) as i64, libc::EINVAL);
            fails(libc::sendfile(socket, socket, none, 1) as i64, libc::EINVAL);
            fails(libc::splice(socket, none, socket, none, 1, 0) as i64, libc::EINVAL);
            fails(libc::splice(from, &mut 1, to, none, 1, 0) as i64, libc::ESPIPE);
            fails(libc::splice(from, none, -1, none, 1, 0) as i64, libc::EBADF);
            fails(libc::splice(to, none, to, none, 1, 0) as i64, libc::EBADF);
            assert_eq!(libc::splice(from, none, to, none, 0, 0), 0);
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            fails(libc::msync(ptr::without_provenance_mut(page), page, libc::MS_SYNC).into(), libc::ENOMEM);
            assert_eq!(libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC), 0);
            assert_eq!(libc::fcntl(descriptor, libc::F_GETFD), libc::FD_CLOEXEC);
        }
    });
}

#[test]
fn files_are_brought_to_their_disk() {
    program(|| {
        let writers: Vec<_> = (0..sized(50, 20))
            .map(|n| {
                go!(move || {
                    let path = Path::new();
                    let mut file = path.open();
                    write!(file, "{n}").unwrap();
                    file.sync_all().unwrap();
                    file.sync_data().unwrap();
                    // SAFETY: no pointers.
                    unsafe {
                        assert_eq!(libc::sync_file_range(file.as_raw_fd(), 0, 0, 7), 0);
                    }
                    assert_eq!(fs::read_to_string(&path.0).unwrap(), n.to_string());
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
}

/// Reads all of a stream, slowly, with a pause of a goroutine's before each part.
fn read_slowly(mut stream: impl Read + AsRawFd) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = vec![0; 256 << 10];
    loop {
        narrowboat::sleep(Duration::from_micros(200));
        let mut asked = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: there is one entry.
        if unsafe { libc::syscall(libc::SYS_poll, &raw mut asked, 1, 0) } == 0 {
            continue;
        }
        match stream.read(&mut part).unwrap() {
            0 => return all,
            count => all.extend_from_slice(&part[..count]),
        }
    }
}

/// The reader runs on the sender's processor, or it would never be full and never empty.
fn sends_all(
    output: impl AsRawFd + Send + 'static,
    input: impl Read + AsRawFd + Send + 'static,
    whole: bool,
) {
    // More than any buffer takes.
    let data = bytes(8 << 20);
    let path = Path::with(&data);
    let length = data.len();
    let reader = go!(move || read_slowly(input));
    let ticks = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let (others, end) = (ticks.clone(), done.clone());
    let neighbour = go!(move || {
        while !end.load(Ordering::SeqCst) {
            others.fetch_add(1, Ordering::SeqCst);
            narrowboat::sleep(Duration::from_micros(100));
        }
    });
    let file = path.open();
    let (mut offset, mut sent) = (0, 0);
    while sent < length {
        // SAFETY: the offset can be read and written.
        let part =
            unsafe { libc::sendfile(output.as_raw_fd(), file.as_raw_fd(), &mut offset, length - sent) };
        assert!(part > 0, "{}", io::Error::last_os_error());
        // A socket takes all.
        assert!(!whole || part as usize == length);
        sent += part as usize;
        assert_eq!(offset as usize, sent);
    }
    done.store(true, Ordering::SeqCst);
    // SAFETY: the offset can be read and written. At the end there is nothing to send.
    assert_eq!(unsafe { libc::sendfile(output.as_raw_fd(), file.as_raw_fd(), &mut offset, 10) }, 0);
    drop(output);
    assert!(reader.join().unwrap() == data, "bytes differ");
    neighbour.join().unwrap();
    assert!(ticks.load(Ordering::SeqCst) > 1);
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (output, listener.accept().unwrap().0)
}

#[test]
fn a_file_sent_to_a_full_socket_parks_its_goroutine_alone() {
    if number_from_env("NARROWBOAT_PROCESSORS").is_none() {
        for threads in ["512", "1"] {
            again(
                "a_file_sent_to_a_full_socket_parks_its_goroutine_alone",
                &[("NARROWBOAT_PROCESSORS", "1"), ("NARROWBOAT_BLOCKING_THREADS", threads)],
            );
        }
        return;
    }
    program(|| {
        let (output, input) = UnixStream::pair().unwrap();
        sends_all(output, input, true);
        let (output, input) = tcp();
        sends_all(output, input, true);
        let (input, output) = pipe();
        sends_all(output, input, false);
    });
}

/// From socket to pipe to socket, as a proxy does it.
#[test]
fn splices_wait_for_both_ends() {
    if number_from_env("NARROWBOAT_PROCESSORS").is_none() {
        for threads in ["512", "1"] {
            again(
                "splices_wait_for_both_ends",
                &[("NARROWBOAT_PROCESSORS", "1"), ("NARROWBOAT_BLOCKING_THREADS", threads)],
            );
        }
        return;
    }
    program(|| {
        let ((mut source, from), (to, target)) = (tcp(), UnixStream::pair().unwrap());
        let (pipe_out, pipe_in) = pipe();
        let data = bytes(sized(4 << 20, 1 << 20));
        let expected = data.clone();
        let moves = |input: RawFd, output: RawFd| {
            let none = ptr::null_mut();
            loop {
                // SAFETY: no offsets.
                match unsafe { libc::splice(input, none, output, none, 1 << 20, 0) } {
                    0 => return,
                    part => assert!(part > 0, "{}", io::Error::last_os_error()),
                }
            }
        };
        let first = go!(move || {
            moves(from.as_raw_fd(), pipe_in.as_raw_fd());
            drop(pipe_in);
        });
        let second = go!(move || {
            moves(pipe_out.as_raw_fd(), to.as_raw_fd());
            drop(to);
        });
        let reader = go!(move || read_slowly(target));
        source.set_nonblocking(true).unwrap();
        let mut rest = &data[..];
        while !rest.is_empty() {
            match source.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    narrowboat::sleep(Duration::from_micros(300));
                }
                Err(error) => panic!("{error}"),
            }
        }
        drop(source);
        first.join().unwrap();
        second.join().unwrap();
        assert!(reader.join().unwrap() == expected, "bytes differ");
    });
}

#[test]
fn a_tee_waits_for_its_input() {
    program(|| {
        let ((from, mut source), (mut target, to)) = (pipe(), pipe());
        go!(move || {
            narrowboat::sleep(Duration::from_millis(20));
            source.write_all(b"twice").unwrap();
        });
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::tee(from.as_raw_fd(), to.as_raw_fd(), 100, 0) }, 5);
        let mut text = [0; 5];
        for mut end in [&from, &mut target] {
            end.read_exact(&mut text).unwrap();
            assert_eq!(&text, b"twice");
        }
        // What must not wait says so.
        // SAFETY: no pointers.
        unsafe {
            let (from, to, none) = (from.as_raw_fd(), to.as_raw_fd(), ptr::null_mut());
            libc::fcntl(from, libc::F_SETFL, libc::O_NONBLOCK);
            assert_eq!(libc::tee(from, to, 1, libc::SPLICE_F_NONBLOCK), 0, "its writer has gone");
            let ((from, _source), (_target, to)) = (pipe(), pipe());
            let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
            assert_eq!(libc::splice(from, none, to, none, 1, libc::SPLICE_F_NONBLOCK), -1);
            assert_eq!(errno(), Some(libc::EAGAIN));
        }
    });
}

#[test]
fn files_are_copied() {
    program(|| {
        for size in [0, 10, 100_000, sized(8 << 20, 2 << 20)] {
            let data = bytes(size);
            let (from, to) = (Path::with(&data), Path::new());
            assert_eq!(fs::copy(&from.0, &to.0).unwrap(), size as u64);
            assert!(fs::read(&to.0).unwrap() == data, "bytes differ");
            let (from, mut to) = (from.open(), to.open());
            let (mut input, mut output) = (1, 3);
            // SAFETY: the offsets can be read and written.
            let count = unsafe {
                libc::copy_file_range(from.as_raw_fd(), &mut input, to.as_raw_fd(), &mut output, size, 0)
            };
            assert!(count >= 0 && input as isize == 1 + count && output as isize == 3 + count);
            let mut part = vec![0; count as usize];
            to.seek(io::SeekFrom::Start(3)).unwrap();
            to.read_exact(&mut part).unwrap();
            assert!(size == 0 || part == data[1..1 + count as usize], "bytes differ");
        }
    });
}

#[test]
fn names_are_found_or_not() {
    let count = sized(100, 30);
    program(move || {
        let askers: Vec<_> = (0..count)
            .map(|n| {
                go!(move || match n % 4 {
                    0 => {
                        let found: Vec<_> = ("localhost", 80).to_socket_addrs().unwrap().collect();
                        assert!(found.iter().all(|at| at.ip().is_loopback() && at.port() == 80));
                        assert!(!found.is_empty());
                    }
                    1 => assert!(("127.0.0.1", n as u16).to_socket_addrs().is_ok()),
                    2 => assert!("no-such-host.invalid:80".to_socket_addrs().is_err()),
                    _ => asks_in_c(),
                })
            })
            .collect();
        askers.into_iter().for_each(|asker| asker.join().unwrap());
    });
}

fn asks_in_c() {
    // SAFETY: numbers and pointers, for which zero is a value.
    let mut hints: libc::addrinfo = unsafe { mem::zeroed() };
    hints.ai_socktype = libc::SOCK_STREAM;
    let ask = |node: Option<&CStr>, service: Option<&CStr>, hints: &libc::addrinfo| {
        let mut found = ptr::null_mut();
        let text = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: C strings or null, and room for the list.
        let answer = unsafe { libc::getaddrinfo(text(node), text(service), hints, &mut found) };
        (answer, found)
    };
    let (answer, found) = ask(Some(c"localhost"), Some(c"7"), &hints);
    assert_eq!(answer, 0);
    // SAFETY: a list that was found, and room for the names.
    unsafe {
        assert_eq!((*found).ai_socktype, libc::SOCK_STREAM);
        let (mut host, mut service) = ([0; 200], [0; 50]);
        let (address, length) = ((*found).ai_addr, (*found).ai_addrlen);
        let name = libc::getnameinfo(address, length, host.as_mut_ptr(), 200, service.as_mut_ptr(), 50, 0);
        assert_eq!(name, 0);
        assert!(!CStr::from_ptr(host.as_ptr()).is_empty() && !CStr::from_ptr(service.as_ptr()).is_empty());
        let mut short = [0; 2];
        let numbers = libc::NI_NUMERICSERV;
        let name = libc::getnameinfo(address, length, short.as_mut_ptr(), 2, ptr::null_mut(), 0, numbers);
        assert_eq!(name, libc::EAI_OVERFLOW);
        let name = libc::getnameinfo(address, length, host.as_mut_ptr(), 200, service.as_mut_ptr(), 50, 3);
        assert_eq!(name, 0);
        assert_eq!(CStr::from_ptr(service.as_ptr()), c"7");
        libc::freeaddrinfo(found);
    }
    assert_eq!(ask(None, None, &hints).0, libc::EAI_NONAME);
    assert_eq!(ask(Some(c"localhost"), Some(c"no such service"), &hints).0, libc::EAI_SERVICE);
    hints.ai_flags = libc::AI_NUMERICHOST;
    assert_eq!(ask(Some(c"localhost"), None, &hints).0, libc::EAI_NONAME);
    hints.ai_flags = -1;
    assert_eq!(ask(Some(c"localhost"), None, &hints).0, libc::EAI_BADFLAGS);
}

/// The main goroutine and a forked child.
#[test]
fn elsewhere_nothing_changes() {
    let path = Path::new();
    let file = path.open();
    file.lock().unwrap();
    file.sync_all().unwrap();
    file.unlock().unwrap();
    assert!("localhost:1".to_socket_addrs().is_ok());
    program(move || {
        // SAFETY: the child makes system calls alone.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let good = libc::flock(file.as_raw_fd(), libc::LOCK_EX) == 0
                    && libc::fsync(file.as_raw_fd()) == 0
                    && libc::fcntl(file.as_raw_fd(), libc::F_GETFD) != -1;
                libc::_exit(if good { 7 } else { 1 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            assert_eq!(libc::WEXITSTATUS(status), 7);
        }
    });
}

/// So are the names that C programs call which are compiled for files of more than 2 GiB.
#[test]
fn the_names_are_the_programs() {
    unsafe extern "C" {
        fn fcntl64(file: i32, command: i32, ...) -> i32;
        fn sendfile64(output: i32, input: i32, offset: *mut i64, count: usize) -> isize;
        fn lockf64(file: i32, command: i32, length: i64) -> i32;
    }
    let object_of = |function: *const ()| {
        // SAFETY: numbers and pointers, for which zero is a value; there is room for the answer.
        unsafe {
            let mut found: libc::Dl_info = mem::zeroed();
            assert_ne!(libc::dladdr(function.cast(), &mut found), 0);
            found.dli_fbase
        }
    };
    let ours = object_of(the_names_are_the_programs as *const ());
    for function in [
        fcntl64 as *const (),
        sendfile64 as *const (),
        lockf64 as *const (),
        libc::fcntl as *const (),
        libc::flock as *const (),
        libc::fsync as *const (),
        libc::splice as *const (),
        libc::getaddrinfo as *const (),
        libc::waitpid as *const (),
    ] {
        assert_eq!(object_of(function), ours);
    }
    assert_ne!(object_of(libc::getpid as *const ()), ours);
}

#[test]
fn so_it_is_in_every_mode() {
    if number_from_env("NARROWBOAT_WORKERS").is_some() {
        return;
    }
    again("names_are_found_or_not", &[("NARROWBOAT_WORKERS", "2"), ("NARROWBOAT_STRESS", "evict")]);
    for test in ["locks_of_whole_files_exclude", "locks_of_open_files_exclude"] {
        for workers in ["1", "2", "16"] {
            again(test, &[("NARROWBOAT_WORKERS", workers)]);
        }
        again(test, &[("NARROWBOAT_WORKERS", "2"), ("NARROWBOAT_STACKS", "own")]);
        again(test, &[("NARROWBOAT_WORKERS", "2"), ("NARROWBOAT_STRESS", "evict")]);
        again(test, &[("NARROWBOAT_WORKERS", "2"), ("NARROWBOAT_PIN", "1")]);
        again(test, &[("NARROWBOAT_WORKERS", "2"), ("NARROWBOAT_PROCESSORS", "1")]);
    }
}
