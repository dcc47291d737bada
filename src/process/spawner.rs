//! The thread that spawns workers. There is one per process, and it deliberately lives as long as the process: the
//! kernel signals the death of the primary to the workers when this thread ends (`sys::orphan`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::launch::Launch;
use crate::error::Error;
use crate::sys::limits::descriptors;

/// A spawned process that is not reaped.
#[derive(Debug)]
pub struct Spawned {
    pub pid: u32,
    pub pidfd: OwnedFd,
}

/// The descriptors that a worker inherits.
pub struct Inherited {
    /// Descriptors 3, 4, 5 ... of the worker.
    pub channels: Vec<OwnedFd>,
    /// Its standard output and standard error; None: the primary's own.
    pub streams: Option<(OwnedFd, OwnedFd)>,
    /// The control groups that it joins: descriptors of their `cgroup.procs`.
    pub groups: Vec<OwnedFd>,
}

type Reply = Box<dyn FnOnce(io::Result<Spawned>) + Send>;

struct Request {
    launch: Launch,
    slot: u16,
    inherited: Inherited,
    reply: Reply,
}

/// Spawns a worker; `reply` is called on the spawning thread and must not block.
pub fn spawn(
    launch: Launch,
    slot: u16,
    inherited: Inherited,
    reply: impl FnOnce(io::Result<Spawned>) + Send + 'static,
) {
    static THREAD: OnceLock<Option<Sender<Request>>> = OnceLock::new();
    let requests = THREAD.get_or_init(start_thread);
    let request = Request { launch, slot, inherited, reply: Box::new(reply) };
    let refused = match requests {
        Some(requests) => requests.send(request).err().map(|unsent| unsent.0.reply),
        None => Some(request.reply),
    };
    if let Some(reply) = refused {
        reply(Err(io::Error::other("the thread that spawns workers could not be started")));
    }
}

fn start_thread() -> Option<Sender<Request>> {
    let (requests, received) = channel::<Request>();
    let thread = std::thread::Builder::new().name("drover-spawn".into()).spawn(move || {
        // The sender is in a static, so this loop never ends before the process.
        while let Ok(Request { launch, slot, inherited, reply }) = received.recv() {
            reply(start(&launch, slot, inherited));
        }
    });
    thread.ok().map(|_| requests)
}

/// A copy of a standard stream for a worker, because the runtime has set close-on-exec on its own.
fn own(stream: BorrowedFd<'_>) -> io::Result<Stdio> {
    stream.try_clone_to_owned().map(Stdio::from)
}

fn start(launch: &Launch, slot: u16, inherited: Inherited) -> io::Result<Spawned> {
    let (stdout, stderr) = match inherited.streams {
        Some((stdout, stderr)) => (Stdio::from(stdout), Stdio::from(stderr)),
        None => (own(io::stdout().as_fd())?, own(io::stderr().as_fd())?),
    };
    let mut command = Command::new(&launch.program);
    command
        .args(launch.arguments(slot))
        .env_clear()
        .envs(launch.environment(slot))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    if let Some(cwd) = &launch.cwd {
        command.current_dir(cwd);
    }
    let attributes = launch.scheduling.attributes(slot, inherited.groups);
    let child = crate::sys::spawn::spawn(&mut command, &inherited.channels, attributes)?;
    // The command holds the worker's ends of its output pipes; they must be closed so that the log sees their end.
    drop(command);
    let pid = child.id();
    // The pid of an unreaped child cannot be reused.
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let raw = raw.ok_or_else(|| io::Error::other("a pid out of range"))?;
    match pidfd_open(raw, PidfdFlags::NONBLOCK) {
        Ok(pidfd) => Ok(Spawned { pid, pidfd }),
        Err(errno) => {
            // It must not run unwatched: kill and reap it here.
            let _ = rustix::process::kill_process(raw, rustix::process::Signal::KILL);
            let _ = rustix::process::waitpid(Some(raw), rustix::process::WaitOptions::empty());
            Err(errno.into())
        }
    }
}

/// The error of a worker that could not be spawned.
pub fn not_spawned(launch: &Launch, source: &io::Error) -> Error {
    let Some(cwd) = &launch.cwd else { return not_started("spawn", source) };
    match std::fs::metadata(cwd) {
        Ok(found) if found.is_dir() => not_started("spawn", source),
        found => {
            let cause = found.err().unwrap_or_else(|| io::ErrorKind::NotADirectory.into());
            let mut error = Error::system("chdir", &cause);
            error.message = format!("The workers' folder {cwd} cannot be entered: {cause}");
            error.and("path", cwd.as_str().into())
        }
    }
}

/// The error of a process that could not be spawned, with advice.
pub fn not_started(syscall: &str, source: &io::Error) -> Error {
    let mut error = Error::system(syscall, source);
    let advice = match source.raw_os_error() {
        Some(libc::EMFILE) => format!(
            "this process may have {} open files, and each worker takes a dozen of them and twice as many while it \
             starts: raise the limit (ulimit -n), or ask for fewer workers",
            descriptors()
        ),
        Some(libc::EAGAIN) => {
            "its user or control group may have no more processes (ulimit -u, pids.max)".into()
        }
        Some(libc::ENOMEM) => "no memory is left for another process".into(),
        _ => return error,
    };
    error.message = format!("{}: {advice}", error.message);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_start_a_worker_is_told_what_would_help() {
        let error_of = |errno| not_started("spawn", &io::Error::from_raw_os_error(errno));
        assert!(
            error_of(libc::EMFILE).message.contains("ulimit -n")
                && error_of(libc::EMFILE).details["errno"] == libc::EMFILE
        );
        assert!(error_of(libc::EAGAIN).message.contains("pids.max"));
        assert_eq!(error_of(libc::ENOENT).message, "spawn: No such file or directory (os error 2)");
    }
}
