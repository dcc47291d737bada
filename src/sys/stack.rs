//! Requests the JavaScript stack of a process whose event loop is hung, without a debugger or a port. A signal handler
//! posts a semaphore; a thread that waits on it asks V8 for an interrupt (`Isolate::RequestInterrupt`, looked up at run
//! time), and V8 calls back on the main thread while JavaScript runs. V8 does this at function entries, loop heads and
//! in regular expressions, not in native calls. No JavaScript may run in the interrupt: `stack_trace` lists the frames.

use std::cell::RefCell;
use std::ffi::c_void;
use std::io;
use std::mem::zeroed;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::process::{Signal, pidfd_send_signal};

use super::dynamic::function;
use super::stack_trace::{Interrupted, Isolate, Symbols};

/// A real-time signal that neither Node, V8, glibc nor `orphan` uses.
pub fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 7
}

/// Requests the stack of a process that has a `Watch`; the signal's default action would end any other process.
pub fn ask(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a number in the range of real-time signals, above those that libc keeps for itself.
    let signal = unsafe { Signal::from_raw_unchecked(signal()) };
    Ok(pidfd_send_signal(pidfd, signal)?)
}

type Interrupt = unsafe extern "C" fn(Isolate, *mut c_void);
type RequestInterrupt = unsafe extern "C" fn(Isolate, Interrupt, *mut c_void);
type CurrentIsolate = unsafe extern "C" fn() -> Isolate;

/// Enough for the few calls that the sleeping thread makes.
const THREAD_STACK: usize = 64 * 1024;

/// The only semaphore, never freed: a signal may arrive at any time after its creation.
static SEMAPHORE: AtomicPtr<libc::sem_t> = AtomicPtr::new(null_mut());

extern "C" fn on_signal(_signal: libc::c_int) {
    // SAFETY: sem_post is async-signal-safe; the handler is installed after the semaphore was made. It can fail
    // only when more requests wait than anyone counts.
    unsafe { libc::sem_post(SEMAPHORE.load(Ordering::Acquire)) };
}

/// The callback of V8's interrupt.
struct Teller {
    symbols: Symbols,
    tell: Box<dyn Fn(&Interrupted<'_>)>,
}

thread_local! {
    /// Set on the thread on which `Watch::arm` was called.
    static TELLER: RefCell<Option<Teller>> = const { RefCell::new(None) };
}

/// # Safety
/// V8 calls it, as an interrupt of the isolate.
unsafe extern "C" fn on_interrupt(isolate: Isolate, _data: *mut c_void) {
    // A thread that ends, or a watch that is being armed or dropped, reports nothing.
    let _ = TELLER.try_with(|teller| {
        if let Ok(teller) = teller.try_borrow()
            && let Some(Teller { symbols, tell }) = teller.as_ref()
        {
            // SAFETY: V8 opens a handle scope for each interrupt and closes it after this call.
            tell(&unsafe { Interrupted::new(isolate, *symbols) });
        }
    });
}

/// The isolate that may be interrupted, while it exists. The thread holds the lock during a request, so that the
/// isolate is not disposed meanwhile.
struct Target {
    isolate: Isolate,
    request: RequestInterrupt,
}

// SAFETY: RequestInterrupt is the call that V8 allows from any thread; the address is used for nothing else.
unsafe impl Send for Target {}

/// Responds to `ask` until it is dropped, which must be before its isolate is disposed.
pub struct Watch {
    target: Arc<Mutex<Option<Target>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches the isolate that runs on the calling thread. `tell` is called on this thread while JavaScript runs
    /// there; it must neither unwind nor call into JavaScript.
    ///
    /// # Errors
    /// Unsupported, with the reason, if the runtime is not a V8 with these functions.
    pub fn arm(tell: impl Fn(&Interrupted<'_>) + 'static) -> io::Result<Self> {
        let missing = || io::Error::new(io::ErrorKind::Unsupported, "this runtime cannot be interrupted");
        // SAFETY: `static Isolate* v8::Isolate::GetCurrent()` and `void v8::Isolate::RequestInterrupt(void
        // (*)(Isolate*, void*), void*)`: a static function and a member that is not virtual, which the C++ ABIs
        // of Linux call like C functions, the object being the first argument. The mangled names hold the types.
        let (current, request) = unsafe {
            let current: CurrentIsolate = function(c"_ZN2v87Isolate10GetCurrentEv").ok_or_else(missing)?;
            let name = c"_ZN2v87Isolate16RequestInterruptEPFvPS0_PvES2_";
            (current, function::<RequestInterrupt>(name).ok_or_else(missing)?)
        };
        let symbols = Symbols::find().ok_or_else(missing)?;
        // SAFETY: it only reads which isolate this thread has entered.
        let isolate = NonNull::new(unsafe { current() }).ok_or_else(missing)?.as_ptr();
        let semaphore = semaphore()?;
        let target = Arc::new(Mutex::new(Some(Target { isolate, request })));
        let theirs = target.clone();
        let thread = std::thread::Builder::new()
            .name("drover-stack".into())
            .stack_size(THREAD_STACK)
            .spawn(move || serve(semaphore, &theirs))?;
        let watch = Self { target, thread: Some(thread) };
        TELLER.set(Some(Teller { symbols, tell: Box::new(tell) }));
        install()?;
        Ok(watch)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = TELLER.try_with(|teller| teller.try_borrow_mut().map(|mut teller| teller.take()));
        on_signal(0);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread: requests an interrupt each time the semaphore is posted, until the target is gone.
fn serve(semaphore: Semaphore, target: &Mutex<Option<Target>>) {
    block_signals();
    loop {
        semaphore.wait();
        match &*target.lock().unwrap_or_else(PoisonError::into_inner) {
            // SAFETY: any thread may ask, and the isolate lives while the lock is held.
            Some(Target { isolate, request }) => unsafe { request(*isolate, on_interrupt, null_mut()) },
            None => return,
        }
    }
}

#[derive(Clone, Copy)]
struct Semaphore(NonNull<libc::sem_t>);

// SAFETY: a semaphore is made for several threads, and this one is never freed.
unsafe impl Send for Semaphore {}

impl Semaphore {
    fn wait(self) {
        // SAFETY: an initialised semaphore that is never freed.
        while unsafe { libc::sem_wait(self.0.as_ptr()) } != 0 {}
    }
}

/// Creates the semaphore at the first call.
fn semaphore() -> io::Result<Semaphore> {
    let known = SEMAPHORE.load(Ordering::Acquire);
    if let Some(known) = NonNull::new(known) {
        return Ok(Semaphore(known));
    }
    // SAFETY: sem_t is plain data, which sem_init makes a semaphore of; it is leaked on purpose.
    let made = unsafe {
        let made = Box::leak(Box::new(zeroed::<libc::sem_t>()));
        if libc::sem_init(made, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        NonNull::from(made)
    };
    SEMAPHORE.store(made.as_ptr(), Ordering::Release);
    Ok(Semaphore(made))
}

fn install() -> io::Result<()> {
    // SAFETY: a plain-data struct zeroed and filled; the handler does what POSIX allows in one.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        if libc::sigaction(signal(), &raw const action, null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Blocks all signals, so that no handler runs on the calling thread, whose stack is small.
fn block_signals() {
    // SAFETY: a set of signals is plain data; only this thread's mask changes.
    unsafe {
        let mut all: libc::sigset_t = zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_is_no_v8_is_named_and_nothing_is_left_behind() {
        let refused = Watch::arm(|_| {}).err().expect("there is no V8 in this process");
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        assert_eq!(refused.to_string(), "this runtime cannot be interrupted");
        assert!(SEMAPHORE.load(Ordering::Acquire).is_null());
    }
}
