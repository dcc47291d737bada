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

const NEW_STATISTICS: &CStr = c"_ZN2v814HeapStatisticsC1Ev";
const STATISTICS: &CStr = c"_ZN2v87Isolate17GetHeapStatisticsEPNS_14HeapStatisticsE";

/// `v8::HeapStatistics`: `size_t` members, of which V8 has added some at the end (14 in version 11). Room for twice as
/// many.
#[repr(C)]
struct Statistics([usize; 32]);

/// Members of `v8::HeapStatistics`, in the order of v8-statistics.h.
const TOTAL_HEAP_SIZE: usize = 0;
const USED_HEAP_SIZE: usize = 4;
const HEAP_SIZE_LIMIT: usize = 5;
const EXTERNAL_MEMORY: usize = 7;

/// An isolate's heap, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heap {
    pub used: u64,
    pub total: u64,
    pub external: u64,
    pub limit: u64,
}

type NewStatistics = unsafe extern "C" fn(*mut Statistics);
type GetStatistics = unsafe extern "C" fn(*mut c_void, *mut Statistics);

/// Reads an isolate's heap; also from a callback of a collection.
#[derive(Clone, Copy)]
struct HeapReader {
    isolate: *mut c_void,
    create: NewStatistics,
    read: GetStatistics,
}

impl HeapReader {
    /// None if the runtime has no such functions.
    ///
    /// # Safety
    /// `isolate` is that of the calling thread, which alone uses the reader, and lives as long.
    unsafe fn new(isolate: *mut c_void) -> Option<Self> {
        // SAFETY: V8's header declares the constructor `HeapStatistics()` and `void GetHeapStatistics(HeapStatistics*)`;
        // member functions take their object first.
        let found =
            unsafe { (function::<NewStatistics>(NEW_STATISTICS), function::<GetStatistics>(STATISTICS)) };
        let (Some(create), Some(read)) = found else { return None };
        Some(Self { isolate, create, read })
    }

    fn heap(self) -> Option<Heap> {
        let mut statistics = Statistics([0; 32]);
        // SAFETY: the room is larger than V8's class; the isolate is this thread's, and V8 allows this in callbacks of
        // collections, as Node's GCProfiler does it.
        unsafe {
            (self.create)(&raw mut statistics);
            (self.read)(self.isolate, &raw mut statistics);
        }
        let Statistics(members) = statistics;
        let heap = Heap {
            used: members[USED_HEAP_SIZE] as u64,
            total: members[TOTAL_HEAP_SIZE] as u64,
            external: members[EXTERNAL_MEMORY] as u64,
            limit: members[HEAP_SIZE_LIMIT] as u64,
        };
        // Of another order of members this would hardly hold.
        (heap.used > 0 && heap.used <= heap.total && heap.limit >= 1 << 20).then_some(heap)
    }
}

type Hook = unsafe extern "C" fn(*mut c_void, u32, u32, *mut c_void);
type Current = unsafe extern "C" fn() -> *mut c_void;
type AddHook = unsafe extern "C" fn(*mut c_void, Hook, *mut c_void, u32);

/// The current collection; nested ones belong to it.
struct Watch {
    begun: Option<(u32, Instant)>,
    heap: Option<HeapReader>,
    on_collection: Box<dyn FnMut(Collection, Duration, Option<Heap>)>,
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
        let took = since.elapsed();
        let heap = watch.heap.filter(|_| collection == Collection::Major).and_then(HeapReader::heap);
        (watch.on_collection)(collection, took, heap);
    }
}

/// Calls `on_collection` after each collection of this thread's isolate, for the life of the process; with the heap
/// after a major one, where the runtime shows it. `on_collection` must not call into JavaScript. False if the runtime is
/// not V8 or has other names: then nothing is reported.
pub fn watch(on_collection: impl FnMut(Collection, Duration, Option<Heap>) + 'static) -> bool {
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
    // SAFETY: the isolate is this thread's, and only its callbacks use the reader.
    let heap = unsafe { HeapReader::new(isolate) };
    let watch = Watch { begun: None, heap, on_collection: Box::new(on_collection) };
    let watch = Box::into_raw(Box::new(watch)).cast::<c_void>();
    // SAFETY: the isolate is this thread's; the callbacks have V8's types, and what they get is never freed.
    unsafe {
        prologue(isolate, begins, watch, ALL);
        epilogue(isolate, ends, watch, ALL);
    }
    true
}
