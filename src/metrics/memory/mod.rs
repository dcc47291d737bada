//! The mapped shared memory. `cells` are pieces of a mapping, `shared` has typed reads and writes over `layout`;
//! `segment` and `store` have the metrics of programs, `texts` the JSON texts of the primary.

mod cells;
mod segment;
mod shared;
mod store;
mod texts;

pub use cells::Cells;
pub use shared::{Memfds, Page, SharedMemory, Target};
pub use store::MetricStore;
pub use texts::Text;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::aggregation::Totals;
    use crate::metrics::layout::{self, PAGES_A_SLOT, header, page};
    use crate::model::WorkerId;

    #[test]
    fn a_primary_that_was_stopped_amidst_writing_is_not_waited_for() {
        let (memory, _memfds) = SharedMemory::create(0).unwrap();
        assert!(memory.write(Text::Sample, b"{}"));
        assert_eq!(memory.text(Text::Sample), b"{}");
        memory.set(header::SAMPLING, 1);
        memory.set(header::MERGING, 1);
        assert_eq!(memory.text(Text::Sample), b"");
        assert_eq!(memory.totals(), Totals::default());
    }

    #[test]
    fn a_note_is_its_slots_own() {
        let (memory, memfds) = SharedMemory::create(0).unwrap();
        assert!(memory.write(Text::Note(3), b"three") && memory.write(Text::Note(4), b"four"));
        let worker = SharedMemory::open(&memfds, WorkerId::new(0, 1)).unwrap();
        let notes = [3, 4, 5].map(|slot| worker.text(Text::Note(slot)));
        assert_eq!(notes, [b"three".to_vec(), b"four".to_vec(), vec![]]);
        assert!(!memory.write(Text::Note(3), &[b' '; layout::NOTE_CELLS * 8]));
    }

    #[test]
    fn a_text_that_does_not_fit_is_refused() {
        let (memory, _memfds) = SharedMemory::create(0).unwrap();
        assert!(!memory.write(Text::Custom, &vec![b' '; layout::CUSTOM_CELLS * 8 + 1]));
    }

    #[test]
    fn a_worker_writes_its_own_area_and_reads_all_others() {
        let (memory, memfds) = SharedMemory::create(0).unwrap();
        memory.set(header::SLOTS, 2);
        let ids = [WorkerId::new(0, 1), WorkerId::new(1, 1)];
        let workers = ids.map(|id| SharedMemory::open(&memfds, id).unwrap());
        drop(memfds);
        for (worker, id) in workers.iter().zip(ids) {
            worker.page(id).set(page::REQUESTS, 2f64.to_bits());
        }
        memory.retire(ids[0]);
        for process in workers.iter().chain([&memory]) {
            let requests = process.totals().of(page::REQUESTS);
            assert!((requests - 4.0).abs() < f64::EPSILON, "those of the one that is gone too: {requests}");
        }
        fn is_refused(write: impl FnOnce() + std::panic::UnwindSafe) -> bool {
            std::panic::catch_unwind(write).is_err()
        }
        let worker = std::panic::AssertUnwindSafe(&workers[1]);
        assert!(is_refused(|| worker.set(header::PORT, 1)));
        assert!(is_refused(|| worker.page(ids[0]).add(page::ACCEPTED, 1)));
        let before = WorkerId::new(1, 1 + PAGES_A_SLOT as u32);
        assert!(is_refused(|| worker.page(before).add(page::ACCEPTED, 1)), "another worker of the slot");
    }
}
