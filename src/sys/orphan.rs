//! A worker must not outlive its primary, not even in a busy loop. The kernel sends ORPHAN_SIGNAL when the
//! thread that spawned the worker ends (PR_SET_PDEATHSIG); its handler arms a POSIX timer whose expiry is
//! SIGKILL. Until the handler is installed the signal's default action ends the process at once.

use std::io;
use std::mem::zeroed;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicPtr, Ordering};
use std::time::Duration;

/// A real-time signal that neither Node, V8 nor glibc uses; programs rarely touch this range.
pub fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 6
}

static TIMER: AtomicPtr<libc::c_void> = AtomicPtr::new(null_mut());
static GRACE_MS: AtomicI64 = AtomicI64::new(0);
static ORPHANED: AtomicBool = AtomicBool::new(false);
/// The replacements of standard output and standard error once this process's pipes have no reader; -1: none.
static STREAMS: [AtomicI32; 2] = [const { AtomicI32::new(-1) }; 2];

/// Sets the streams that replace this process's standard streams after the primary's death. A write that is blocked on
/// a pipe without a reader continues there: the signal interrupts it, and it is repeated.
pub fn fall_back_to(stdout: OwnedFd, stderr: OwnedFd) {
    STREAMS[0].store(stdout.into_raw_fd(), Ordering::SeqCst);
    STREAMS[1].store(stderr.into_raw_fd(), Ordering::SeqCst);
}

/// Switches to the streams of `fall_back_to`.
pub fn fall_back() {
    for (stream, target) in STREAMS.iter().zip([libc::STDOUT_FILENO, libc::STDERR_FILENO]) {
        let stream = stream.load(Ordering::SeqCst);
        if stream >= 0 {
            // SAFETY: dup2 is async-signal-safe; the descriptor was given to this module and is never closed.
            unsafe { libc::dup2(stream, target) };
        }
    }
}

/// Arms the parent-death signal: after the primary's death this process ends within `grace`, whatever its threads do.
pub fn watch(grace: Duration) -> io::Result<()> {
    set_grace(grace);
    // SAFETY: plain-data structs zeroed and filled; the handler only reads atomics and calls timer_settime,
    // which POSIX lists as async-signal-safe.
    unsafe {
        let mut event: libc::sigevent = zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGKILL;
        let mut timer: libc::timer_t = null_mut();
        if libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) != 0 {
            return Err(io::Error::last_os_error());
        }
        TIMER.store(timer.cast(), Ordering::Release);
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = on_orphaned as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        if libc::sigaction(signal(), &raw const action, null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    rearm()
}

/// Requests the signal again, because setuid and setgid clear the request.
pub fn rearm() -> io::Result<()> {
    // SAFETY: this prctl takes an integer only.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Changes how long this process may run after the primary's death (a shutdown notice gives it time to drain). The
/// notice may be read after the death: then the running timer is set again.
pub fn set_grace(grace: Duration) {
    GRACE_MS.store(i64::try_from(grace.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    if ORPHANED.load(Ordering::SeqCst) {
        arm();
    }
}

extern "C" fn on_orphaned(_signal: libc::c_int) {
    // Before the grace is read: whichever of this handler and `set_grace` runs second arms the timer with the final
    // value.
    ORPHANED.store(true, Ordering::SeqCst);
    fall_back();
    arm();
}

fn arm() {
    let timer = TIMER.load(Ordering::Acquire);
    let grace = GRACE_MS.load(Ordering::SeqCst).max(1);
    // SAFETY: async-signal-safe; the timer was created before the handler was installed.
    unsafe {
        let mut when: libc::itimerspec = zeroed();
        when.it_value.tv_sec = (grace / 1000) as libc::time_t;
        when.it_value.tv_nsec = (grace % 1000 * 1_000_000) as libc::c_long;
        libc::timer_settime(timer.cast(), 0, &raw const when, null_mut());
    }
}
