//! SO_REUSEPORT by hand: a listener for each worker, bound here and inherited by a process that does nothing
//! but `listen({ fd })` on it. Runtimes differ in whether and how they set the option; this does not.

use crate::arguments::Arguments;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use serde_json::json;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};

/// Runs the workers until standard input ends. Each finds its listener's number in `LISTEN_FD`, its own in
/// `WORKER_ID`, and a standard input that ends with this process, however that ends.
pub fn run(arguments: &Arguments) -> std::io::Result<()> {
    let mut workers = Vec::new();
    let launched = (0..arguments.workers).try_for_each(|id| {
        workers.push(launch(arguments, id)?);
        std::io::Result::Ok(())
    });
    let waited = launched.and_then(|()| {
        println!("{}", json!({ "pids": workers.iter().map(Child::id).collect::<Vec<_>>() }));
        std::io::stdin().read_to_end(&mut Vec::new()).map(|_| ())
    });
    for worker in &mut workers {
        // One that has ended by itself is what is wanted too.
        let _ = worker.kill();
        worker.wait()?;
    }
    waited
}

fn launch(arguments: &Arguments, id: usize) -> std::io::Result<Child> {
    let listener = listener(arguments.target)?;
    // Only now and only for this child: the others must not hold it open.
    fcntl_setfd(&listener, FdFlags::empty())?;
    Command::new(&arguments.command[0])
        .args(&arguments.command[1..])
        .env("LISTEN_FD", listener.as_raw_fd().to_string())
        .env("WORKER_ID", id.to_string())
        .stdin(Stdio::piped())
        .spawn()
}

fn listener(address: SocketAddr) -> std::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    net::bind(&socket, &address)?;
    Ok(socket)
}
