//! The load generator of the benches: one thread, one epoll, loopback only, bounded in count and in time.
//!
//! ```text
//! loadgen new       127.0.0.1:3000 --connections 64 --total 20000          a new connection for each request
//! loadgen new       127.0.0.1:3000 --seconds 2 --rate 2000                 the same, at a fixed rate
//! loadgen keepalive 127.0.0.1:3000 --connections 64 --seconds 2            one connection for many requests
//! loadgen keepalive 127.0.0.1:3000 --workers 2 --seconds 2                 the same, as many on each worker
//! loadgen keepalive 127.0.0.1:3000 --spin true --seconds 2                the same, and the client never sleeps
//! loadgen hold      127.0.0.1:3000 --connections 16                        who got how many, also after churn
//! loadgen overload  127.0.0.1:3000 --rate 500 --seconds 5 --keep true     more than can be answered, and what is refused
//! loadgen reuseport-launch 127.0.0.1:3000 --workers 2 -- node worker.js    SO_REUSEPORT by hand
//! ```
//! Each prints one line of JSON. A target that refuses or stays silent is a figure in it, not a failure.

mod answer;
mod arguments;
mod connection;
mod hold;
mod keepalive;
mod launch;
mod new;
mod overload;
mod pool;
mod report;

use arguments::{Arguments, Mode};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(fault) => {
            eprintln!("loadgen: {fault}");
            return ExitCode::from(2);
        }
    };
    // Without it the kernel may wake a sleeper 50 us late, as long as an answer takes.
    let precise = rustix::thread::set_current_timer_slack(std::num::NonZero::new(1));
    let done = precise.map_err(Into::into).and_then(|()| match arguments.mode {
        Mode::New => new::run(&arguments).map(|line| println!("{line}")),
        Mode::KeepAlive => keepalive::run(&arguments).map(|line| println!("{line}")),
        Mode::Hold => hold::run(&arguments).map(|line| println!("{line}")),
        Mode::Overload => overload::run(&arguments).map(|line| println!("{line}")),
        Mode::ReusePortLaunch => launch::run(&arguments),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadgen: {error}");
            ExitCode::FAILURE
        }
    }
}
