//! What the main thread of a process is doing, as reported by the kernel without waking the process. Sources:
//! proc_pid_stat(5), proc_pid_syscall(5), proc_pid_wchan(5).

/// The state of a main thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Asleep until an event arrives.
    Waiting,
    /// On a CPU, or in a system call other than an event loop's wait.
    Working,
    /// Stopped by a signal.
    Stopped,
    /// A debugger has stopped it.
    Traced,
    /// Asleep, but the kernel does not report in which call. `ticks`: CPU ticks used so far.
    Unknown { ticks: u64 },
}

/// None if the process no longer exists. A waiting thread costs one small read.
pub fn look(pid: u32) -> Option<Doing> {
    judge(|file| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/{file}")).ok())
}

fn judge(read: impl Fn(&str) -> Option<String>) -> Option<Doing> {
    let channel = read("wchan").as_deref().and_then(is_epoll_channel);
    if channel == Some(true) {
        return Some(Doing::Waiting);
    }
    let stat = read("stat")?;
    // The name may contain spaces and `)`. After it the state is the first field, user and system time are the 12th and
    // 13th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    match fields.next()? {
        "T" => return Some(Doing::Stopped),
        "t" => return Some(Doing::Traced),
        "S" => {}
        // Running, or in an uninterruptible sleep.
        _ => return Some(Doing::Working),
    }
    let ticks = fields.nth(10)?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(match read("syscall").as_deref().and_then(is_epoll_call).or(channel) {
        Some(true) => Doing::Waiting,
        Some(false) => Doing::Working,
        None => Doing::Unknown { ticks },
    })
}

/// The system calls in which event loops sleep.
#[cfg(target_arch = "x86_64")]
const EPOLL_CALLS: [i64; 3] = [libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_epoll_wait];
#[cfg(not(target_arch = "x86_64"))]
const EPOLL_CALLS: [i64; 2] = [libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];

/// The number of the call is the first word; `running`, or -1 for a sleep outside of any call.
fn is_epoll_call(text: &str) -> Option<bool> {
    let word = text.split_whitespace().next()?;
    Some(word.parse().is_ok_and(|call: i64| EPOLL_CALLS.contains(&call)))
}

/// The kernel's function, whose name differs between versions; `0` for a running thread, and if the caller may not read
/// it.
fn is_epoll_channel(text: &str) -> Option<bool> {
    let name = text.trim();
    (!matches!(name, "" | "0")).then(|| name.contains("epoll") || name.starts_with("ep_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(state: &str) -> String {
        format!("9 (a b) c) {state} 1 9 9 0 -1 0 2204 0 1 0 40 2 0 0 20 0 7 0 4711 0 0")
    }

    fn seen(state: &str, syscall: Option<&str>, wchan: Option<&str>) -> Option<Doing> {
        judge(|file| match file {
            "stat" => Some(stat(state)),
            "syscall" => syscall.map(str::to_owned),
            "wchan" => wchan.map(str::to_owned),
            _ => None,
        })
    }

    #[test]
    fn a_sleep_in_epoll_is_told_from_any_other() {
        let epoll = format!("{} 0xe 0x7ffd", libc::SYS_epoll_pwait);
        let read = format!("{} 0x3 0x7ffd", libc::SYS_read);
        for (syscall, wchan, expected) in [
            (None, Some("ep_poll"), Doing::Waiting),
            (None, Some("do_epoll_wait"), Doing::Waiting),
            (None, Some("futex_wait_queue"), Doing::Working),
            (Some(epoll.as_str()), Some("a_name_of_next_year"), Doing::Waiting),
            (Some(epoll.as_str()), None, Doing::Waiting),
            (Some(read.as_str()), Some("0"), Doing::Working),
            (Some("running\n"), Some("0"), Doing::Working),
            (None, Some("0"), Doing::Unknown { ticks: 42 }),
            (None, None, Doing::Unknown { ticks: 42 }),
        ] {
            assert_eq!(seen("S", syscall, wchan), Some(expected), "{syscall:?} {wchan:?}");
        }
    }

    #[test]
    fn the_state_alone_tells_the_rest() {
        for (state, expected) in
            [("R", Doing::Working), ("D", Doing::Working), ("T", Doing::Stopped), ("t", Doing::Traced)]
        {
            assert_eq!(seen(state, None, Some("do_signal_stop")), Some(expected));
        }
        assert_eq!(judge(|file| (file == "stat").then(|| "9 (a".to_owned())), None);
    }

    #[test]
    fn this_test_is_at_work_and_the_gone_do_nothing() {
        assert!(look(std::process::id()).is_some());
        assert_eq!(look(u32::MAX), None);
    }
}
