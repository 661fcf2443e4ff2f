//! Goroutines that wait for child processes park, and get what the kernel says of them.

#![expect(clippy::zombie_processes, reason = "children are waited for by libc's functions")]

use narrowboat::{chan, go};
use narrowboat_testing::{again, eventually, number_from_env, parked_in_libc, program, sized, within};
use std::io;
use std::mem;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A child that ends with this code when its standard input ends.
fn child(code: i32) -> Child {
    let script = format!("read line; exit {code}");
    Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap()
}

fn errno() -> Option<i32> {
    io::Error::last_os_error().raw_os_error()
}

/// All of them live at once, although two workers carry all that wait for them.
#[test]
fn a_crowd_of_children_is_waited_for_side_by_side() {
    let count = sized(200, 60);
    program(move || {
        let (tx, rx) = chan::unbounded();
        let alive = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..count)
            .map(|n| {
                let (tx, alive) = (tx.clone(), alive.clone());
                go!(move || {
                    let mut child = child(n as i32 % 100);
                    tx.send(child.stdin.take().unwrap()).unwrap();
                    alive.fetch_add(1, Ordering::SeqCst);
                    let status = child.wait().unwrap();
                    alive.fetch_sub(1, Ordering::SeqCst);
                    assert_eq!(status.code(), Some(n as i32 % 100));
                })
            })
            .collect();
        // None ends before all wait.
        let inputs: Vec<_> = (0..count).map(|_| rx.recv().unwrap()).collect();
        eventually("all children are waited for", || alive.load(Ordering::SeqCst) == count);
        drop(inputs);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn a_killed_child_says_so() {
    program(|| {
        let waiters: Vec<_> = (0..20)
            .map(|_| {
                go!(|| {
                    let mut child = child(0);
                    let _input = child.stdin.take();
                    let pid = child.id() as i32;
                    go!(move || {
                        narrowboat::sleep(Duration::from_millis(20));
                        // SAFETY: no pointers; the child has not been collected.
                        assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
                    });
                    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
                })
            })
            .collect();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn output_and_status_of_a_command() {
    program(|| {
        let commands: Vec<_> = (0..sized(30, 10))
            .map(|n| {
                go!(move || {
                    let output =
                        Command::new("sh").args(["-c", &format!("echo {n}; exit 3")]).output().unwrap();
                    assert_eq!(output.status.code(), Some(3));
                    assert_eq!(output.stdout, format!("{n}\n").into_bytes());
                    assert!(Command::new("true").status().unwrap().success());
                })
            })
            .collect();
        commands.into_iter().for_each(|command| command.join().unwrap());
    });
}

/// The process has other children in other tests, so this is a process of its own.
#[test]
fn any_child_and_none() {
    if std::env::var_os("NARROWBOAT_TEST_ALONE").is_none() {
        return again("any_child_and_none", &[("NARROWBOAT_TEST_ALONE", "1")]);
    }
    program(|| {
        let none = || {
            let mut status = 0;
            // SAFETY: there is room for the status.
            unsafe {
                assert_eq!(libc::waitpid(-1, &mut status, 0), -1);
                assert_eq!(errno(), Some(libc::ECHILD));
                assert_eq!(libc::wait(&mut status), -1);
                assert_eq!(errno(), Some(libc::ECHILD));
                assert_eq!(libc::waitpid(std::process::id() as i32, &mut status, 0), -1);
                assert_eq!(errno(), Some(libc::ECHILD));
                assert_eq!(libc::waitpid(-1, &mut status, libc::WNOHANG), -1);
                assert_eq!(errno(), Some(libc::ECHILD));
            }
        };
        none();
        let count = sized(20, 10);
        let mut children: Vec<_> = (0..count).map(|n| child(n as i32)).collect();
        // SAFETY: no status is asked for.
        assert_eq!(unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) }, 0);
        let waiters: Vec<_> = (0..count)
            .map(|n| {
                go!(move || {
                    let mut status = 0;
                    // SAFETY: there is room for the status, and for the use of resources.
                    let pid = unsafe {
                        let mut usage = mem::zeroed();
                        match n % 4 {
                            0 => libc::waitpid(-1, &mut status, 0),
                            1 => libc::wait(&mut status),
                            2 => libc::waitpid(0, &mut status, libc::WUNTRACED),
                            _ => libc::wait4(-1, &mut status, 0, &mut usage),
                        }
                    };
                    (pid, libc::WEXITSTATUS(status))
                })
            })
            .collect();
        let mut expected: Vec<_> =
            children.iter().enumerate().map(|(n, child)| (child.id() as i32, n as i32)).collect();
        children.iter_mut().for_each(|child| drop(child.stdin.take()));
        let mut found: Vec<_> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        none();
    });
}

/// More of them than the pool has threads, and a call that needs one of its threads lets them go on.
#[test]
fn waits_for_any_child_leave_threads_of_the_pool() {
    const ALONE: &[(&str, &str)] = &[("NARROWBOAT_BLOCKING_THREADS", "2")];
    if number_from_env(ALONE[0].0).is_none() {
        return again("waits_for_any_child_leave_threads_of_the_pool", ALONE);
    }
    program(|| {
        let mut children: Vec<_> = (0..8).map(child).collect();
        let waiters: Vec<_> = (0..8)
            // SAFETY: no status is asked for.
            .map(|_| go!(|| assert!(unsafe { libc::waitpid(-1, ptr::null_mut(), 0) } > 0)))
            .collect();
        eventually("all wait", || parked_in_libc() >= 8);
        assert_eq!(narrowboat::blocking(|| 5), 5);
        children.iter_mut().for_each(|child| drop(child.stdin.take()));
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn waitid_tells_what_it_should() {
    program(|| {
        let mut one = child(9);
        let pid = one.id();
        let input = one.stdin.take();
        go!(move || {
            narrowboat::sleep(Duration::from_millis(20));
            drop(input);
        });
        // SAFETY: there is room for the information; null is allowed.
        unsafe {
            let mut info: libc::siginfo_t = mem::zeroed();
            let wait = |kind, id, info, options| libc::waitid(kind, id, info, options);
            assert_eq!(wait(libc::P_PID, pid, &mut info, libc::WEXITED | libc::WNOHANG), 0);
            assert_eq!(info.si_pid(), 0);
            // It stays to be collected.
            assert_eq!(wait(libc::P_PID, pid, &mut info, libc::WEXITED | libc::WNOWAIT), 0);
            assert_eq!((info.si_signo, info.si_code), (libc::SIGCHLD, libc::CLD_EXITED));
            assert_eq!((info.si_pid(), info.si_status()), (pid as i32, 9));
            assert_eq!(wait(libc::P_PID, pid, ptr::null_mut(), libc::WEXITED), 0);
            assert_eq!(wait(libc::P_PID, pid, &mut info, libc::WEXITED), -1);
            assert_eq!(errno(), Some(libc::ECHILD));
            assert_eq!(wait(libc::P_PID, pid, &mut info, 0), -1);
            assert_eq!(errno(), Some(libc::EINVAL));
        }
    });
}

#[test]
fn a_descriptor_of_a_process_is_waited_for() {
    program(|| {
        let mut one = child(4);
        let pid = one.id();
        let input = one.stdin.take();
        // SAFETY: no pointers.
        let open = |flags: u32| unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) as u32 };
        let (blocking, non_blocking) = (open(0), open(libc::O_NONBLOCK as u32));
        // SAFETY: there is room for the information.
        unsafe {
            let mut info: libc::siginfo_t = mem::zeroed();
            assert_eq!(libc::waitid(libc::P_PIDFD, non_blocking, &mut info, libc::WEXITED), -1);
            assert_eq!(errno(), Some(libc::EAGAIN));
            go!(move || {
                narrowboat::sleep(Duration::from_millis(20));
                // The number is closed while it is waited for.
                libc::close(blocking as i32);
                drop(input);
            });
            assert_eq!(libc::waitid(libc::P_PIDFD, blocking, &mut info, libc::WEXITED), 0);
            assert_eq!((info.si_pid(), info.si_status()), (pid as i32, 4));
            assert_eq!(libc::waitid(libc::P_PIDFD, non_blocking, &mut info, libc::WEXITED), -1);
            assert_eq!(errno(), Some(libc::ECHILD));
            libc::close(non_blocking as i32);
        }
    });
}

#[test]
fn stops_and_continuations_are_seen() {
    program(|| {
        let mut one = child(0);
        let pid = one.id() as i32;
        let input = one.stdin.take();
        // SAFETY: there is room for the status.
        unsafe {
            let mut status = 0;
            let send = move |signal| {
                go!(move || {
                    narrowboat::sleep(Duration::from_millis(10));
                    assert_eq!(libc::kill(pid, signal), 0);
                })
            };
            send(libc::SIGSTOP);
            assert_eq!(libc::waitpid(pid, &mut status, libc::WUNTRACED), pid);
            assert!(libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGSTOP);
            send(libc::SIGCONT);
            assert_eq!(libc::waitpid(pid, &mut status, libc::WCONTINUED), pid);
            assert!(libc::WIFCONTINUED(status));
            send(libc::SIGTERM);
            assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
            assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGTERM);
        }
        drop(input);
    });
}

/// Two goroutines and a thread wait for one child: one of them gets it.
#[test]
fn a_child_is_collected_once() {
    program(|| {
        for _ in 0..sized(20, 5) {
            let mut one = child(2);
            let pid = one.id() as i32;
            let wait = move || {
                let mut status = 0;
                // SAFETY: there is room for the status.
                let found = unsafe { libc::waitpid(pid, &mut status, 0) };
                (found, if found == -1 { errno().unwrap() } else { libc::WEXITSTATUS(status) })
            };
            let (first, second, thread) = (go!(wait), go!(wait), thread::spawn(wait));
            narrowboat::sleep(Duration::from_millis(5));
            drop(one.stdin.take());
            let mut all = [first.join().unwrap(), second.join().unwrap(), thread.join().unwrap()];
            all.sort_unstable();
            assert_eq!(all, [(-1, libc::ECHILD), (-1, libc::ECHILD), (pid, 2)]);
        }
    });
}

/// The kernel collects children whose end is ignored by itself, and then there is none.
#[test]
fn children_that_are_ignored() {
    if std::env::var_os("NARROWBOAT_TEST_ALONE").is_none() {
        return again("children_that_are_ignored", &[("NARROWBOAT_TEST_ALONE", "1")]);
    }
    program(|| {
        // SAFETY: a process of its own; nothing handles the signal.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let mut one = child(0);
        let input = one.stdin.take();
        go!(move || {
            narrowboat::sleep(Duration::from_millis(20));
            drop(input);
        });
        // SAFETY: no status is asked for.
        assert_eq!(unsafe { libc::waitpid(one.id() as i32, ptr::null_mut(), 0) }, -1);
        assert_eq!(errno(), Some(libc::ECHILD));
    });
}

#[test]
fn what_a_child_has_used_is_told() {
    program(|| {
        let mut one = child(0);
        let pid = one.id() as i32;
        let input = one.stdin.take();
        go!(move || {
            narrowboat::sleep(Duration::from_millis(20));
            drop(input);
        });
        // SAFETY: there is room for both.
        unsafe {
            let (mut status, mut usage): (i32, libc::rusage) = (0, mem::zeroed());
            assert_eq!(libc::wait4(pid, &mut status, 0, &mut usage), pid);
            assert!(usage.ru_maxrss > 0);
        }
    });
}

/// A traced child stops without being asked for it, and its descriptor does not show that.
#[test]
fn a_traced_child_is_seen_to_stop() {
    if std::env::var_os("NARROWBOAT_TEST_ALONE").is_none() {
        return again("a_traced_child_is_seen_to_stop", &[("NARROWBOAT_TEST_ALONE", "1")]);
    }
    program(|| {
        // SAFETY: the child makes system calls alone. It is traced by the thread that has forked it, so
        // the parent only kills it.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::usleep(20_000);
                libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                libc::raise(libc::SIGSTOP);
                libc::_exit(0);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
            assert!(libc::WIFSTOPPED(status), "{status:x}");
            assert_eq!(libc::kill(pid, libc::SIGKILL), 0);
            assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
            assert!(libc::WIFSIGNALED(status), "{status:x}");
        }
    });
}

/// Threads that are no goroutines, a forked child, and a signal handler wait as ever.
#[test]
fn elsewhere_nothing_changes() {
    within(Duration::from_secs(60), || {
        let mut one = child(1);
        drop(one.stdin.take());
        assert_eq!(one.wait().unwrap().code(), Some(1));
    });
    program(|| {
        // SAFETY: the child makes system calls alone.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let grandchild = libc::fork();
                if grandchild == 0 {
                    libc::usleep(10_000);
                    libc::_exit(3);
                }
                let mut status = 0;
                libc::waitpid(grandchild, &mut status, 0);
                libc::_exit(libc::WEXITSTATUS(status) + 1);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            assert_eq!(libc::WEXITSTATUS(status), 4);
        }
    });
    static COLLECTED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn collect(_: i32) {
        let child = CHILD.load(Ordering::SeqCst) as i32;
        // SAFETY: no status is asked for.
        if unsafe { libc::waitpid(child, ptr::null_mut(), 0) } == child {
            COLLECTED.fetch_add(1, Ordering::SeqCst);
        }
    }
    static CHILD: AtomicUsize = AtomicUsize::new(0);
    program(|| {
        let mut one = child(0);
        CHILD.store(one.id() as usize, Ordering::SeqCst);
        drop(one.stdin.take());
        // SAFETY: the handler makes system calls alone.
        unsafe {
            libc::signal(libc::SIGUSR1, collect as *const () as usize);
            libc::raise(libc::SIGUSR1);
        }
        assert_eq!(COLLECTED.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn so_it_is_in_every_mode() {
    if number_from_env("NARROWBOAT_WORKERS").is_some() {
        return;
    }
    for test in ["a_crowd_of_children_is_waited_for_side_by_side", "a_child_is_collected_once"] {
        for workers in ["1", "2", "16"] {
            again(test, &[("NARROWBOAT_WORKERS", workers)]);
        }
        again(test, &[("NARROWBOAT_WORKERS", "2"), ("NARROWBOAT_STACKS", "own")]);
        again(test, &[("NARROWBOAT_WORKERS", "2"), ("NARROWBOAT_STRESS", "evict")]);
        again(test, &[("NARROWBOAT_WORKERS", "2"), ("NARROWBOAT_PIN", "1")]);
        again(test, &[("NARROWBOAT_WORKERS", "2"), ("NARROWBOAT_PROCESSORS", "1")]);
    }
}
