//! Counts garbage collections in the worker's page.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::metrics::layout::page::{EXTERNAL, FLOOR, GC, GC_BOUNDS, GC_KIND_CELLS, HEAP_TOTAL, HEAP_USED};
use crate::metrics::memory::Page;
use crate::sys::gc::{self, Collection, Heap};

type Pages = Rc<dyn Fn() -> Option<Page>>;

thread_local! {
    static PAGES: RefCell<Option<Pages>> = const { RefCell::new(None) };
}

/// Starts counting in the page that `page` returns: the collections that V8 reports, for the life of the isolate, and those of
/// [`reported`].
pub fn count(page: impl Fn() -> Option<Page> + 'static) {
    let pages: Pages = Rc::new(page);
    PAGES.set(Some(pages.clone()));
    gc::watch(move |collection, took, heap| {
        if let Some(page) = pages() {
            add(&page, collection, took);
            if let Some(heap) = heap {
                set_heap(&page, heap);
            }
        }
    });
}

/// Counts a collection that JavaScript knows of, of a runtime that is not V8.
pub fn reported(collection: Collection, took: Duration) {
    let page = PAGES.with_borrow(|pages| pages.as_ref().and_then(|pages| pages()));
    if let Some(page) = page {
        add(&page, collection, took);
    }
}

/// The heap after a major collection.
fn set_heap(page: &Page, heap: Heap) {
    let set = |cell: usize, bytes: u64| page.set(cell, (bytes as f64).to_bits());
    set(HEAP_USED, heap.used);
    set(HEAP_TOTAL, heap.total);
    set(EXTERNAL, heap.external);
    set(FLOOR, heap.used + heap.external);
}

fn add(page: &Page, collection: Collection, took: Duration) {
    let kind = match collection {
        Collection::Minor => 0,
        Collection::Major => 1,
        Collection::Incremental => 2,
        Collection::WeakCallbacks => 3,
    };
    let seconds = took.as_secs_f64();
    let first = GC + kind * GC_KIND_CELLS;
    let bucket = GC_BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(GC_BOUNDS.len());
    let raise = |cell: usize, by: f64| page.set(cell, (page.float(cell) + by).to_bits());
    raise(first + bucket, 1.0);
    raise(first + GC_BOUNDS.len() + 1, seconds);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::layout::page::{COUNTERS, GC_KINDS};
    use crate::metrics::memory::SharedMemory;
    use crate::model::WorkerId;

    #[test]
    fn a_collection_stands_in_its_bucket_and_outlives_the_worker() {
        let (memory, _memfds) = SharedMemory::create(0).unwrap();
        let page = memory.page(WorkerId::new(0, 1));
        add(&page, Collection::Major, Duration::from_millis(50));
        add(&page, Collection::Major, Duration::from_secs(9));
        memory.retire(WorkerId::new(0, 1));
        let totals = memory.slot_totals(0);
        let cells: Vec<f64> = (0..GC_KIND_CELLS).map(|cell| totals.of(GC + GC_KIND_CELLS + cell)).collect();
        assert_eq!(GC_KINDS[1], "major");
        assert_eq!(cells, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 9.05]);
        assert_eq!(COUNTERS.iter().map(|cell| totals.of(*cell)).sum::<f64>(), 11.05);
    }
}
