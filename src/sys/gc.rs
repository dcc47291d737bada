//! Observes V8's garbage collections by callbacks: two calls with a clock reading each, no JavaScript object and no
//! event-loop iteration. V8's functions are looked up by their mangled C++ names.

use std::ffi::{CStr, c_void};
use std::time::{Duration, Instant};

use super::dynamic::function;

/// The kind of collection, by the numbers of `v8::GCType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection {
    Minor,
    Major,
    Incremental,
    WeakCallbacks,
}

impl Collection {
    fn of(kind: u32) -> Option<Self> {
        match kind {
            1 | 2 => Some(Self::Minor),
            4 => Some(Self::Major),
            8 => Some(Self::Incremental),
            16 => Some(Self::WeakCallbacks),
            _ => None,
        }
    }
}

const ALL: u32 = 31;
const ISOLATE: &CStr = c"_ZN2v87Isolate13TryGetCurrentEv";
const PROLOGUE: &CStr =
    c"_ZN2v87Isolate21AddGCPrologueCallbackEPFvPS0_NS_6GCTypeENS_15GCCallbackFlagsEPvES4_S2_";
const EPILOGUE: &CStr =
    c"_ZN2v87Isolate21AddGCEpilogueCallbackEPFvPS0_NS_6GCTypeENS_15GCCallbackFlagsEPvES4_S2_";

type Hook = unsafe extern "C" fn(*mut c_void, u32, u32, *mut c_void);
type Current = unsafe extern "C" fn() -> *mut c_void;
type AddHook = unsafe extern "C" fn(*mut c_void, Hook, *mut c_void, u32);

/// The current collection; nested ones belong to it.
struct Watch {
    begun: Option<(u32, Instant)>,
    on_collection: Box<dyn FnMut(Collection, Duration)>,
}

/// # Safety
/// V8 calls it, with the pointer that `watch` gave.
unsafe extern "C" fn begins(_: *mut c_void, kind: u32, _: u32, watch: *mut c_void) {
    // SAFETY: the pointer is the one that `watch` leaked; V8 calls on the isolate's thread, one call at a time.
    let watch = unsafe { &mut *watch.cast::<Watch>() };
    if watch.begun.is_none() {
        watch.begun = Some((kind, Instant::now()));
    }
}

/// # Safety
/// As `begins`.
unsafe extern "C" fn ends(_: *mut c_void, kind: u32, _: u32, watch: *mut c_void) {
    // SAFETY: as in `begins`.
    let watch = unsafe { &mut *watch.cast::<Watch>() };
    let Some((_, since)) = watch.begun.take_if(|(begun, _)| *begun == kind) else { return };
    if let Some(collection) = Collection::of(kind) {
        (watch.on_collection)(collection, since.elapsed());
    }
}

/// Calls `on_collection` after each collection of this thread's isolate, for the life of the process. `on_collection` must not call into
/// JavaScript. False if the runtime is not V8 or has other names: then nothing is reported.
pub fn watch(on_collection: impl FnMut(Collection, Duration) + 'static) -> bool {
    // SAFETY: V8's header declares `static Isolate* TryGetCurrent()` and `void AddGC...Callback(GCCallbackWithData
    // callback, void* data, GCType filter)` with enums of four bytes; the mangled names hold these types, and a member
    // function takes its object first.
    let found = unsafe {
        (function::<Current>(ISOLATE), function::<AddHook>(PROLOGUE), function::<AddHook>(EPILOGUE))
    };
    let (Some(current), Some(prologue), Some(epilogue)) = found else { return false };
    // SAFETY: it only reads which isolate this thread has entered.
    let isolate = unsafe { current() };
    if isolate.is_null() {
        return false;
    }
    let watch = Box::into_raw(Box::new(Watch { begun: None, on_collection: Box::new(on_collection) }))
        .cast::<c_void>();
    // SAFETY: the isolate is this thread's; the callbacks have V8's types, and what they get is never freed.
    unsafe {
        prologue(isolate, begins, watch, ALL);
        epilogue(isolate, ends, watch, ALL);
    }
    true
}
