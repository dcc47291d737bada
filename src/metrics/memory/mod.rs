//! The mapped shared memory. `shared` has typed reads and writes over `layout`; `segment` and `store` are about the
//! metrics of programs, `texts` about what the primary publishes as JSON.

mod segment;
mod shared;
mod store;
mod texts;

pub use shared::{Page, SharedMemory, Target};
pub use store::MetricStore;
pub use texts::Text;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::aggregation::Totals;
    use crate::metrics::layout::{self, header};

    #[test]
    fn a_primary_that_was_stopped_amidst_writing_is_not_waited_for() {
        let (memory, _memfd) = SharedMemory::create(0).unwrap();
        assert!(memory.write(Text::Sample, b"{}"));
        assert_eq!(memory.text(Text::Sample), b"{}");
        memory.set(header::SAMPLING, 1);
        memory.set(header::MERGING, 1);
        assert_eq!(memory.text(Text::Sample), b"");
        assert_eq!(memory.totals(), Totals::default());
    }

    #[test]
    fn a_note_is_its_slots_own() {
        let (memory, memfd) = SharedMemory::create(0).unwrap();
        assert!(memory.write(Text::Note(3), b"three") && memory.write(Text::Note(4), b"four"));
        let worker = SharedMemory::open(&memfd).unwrap();
        let notes = [3, 4, 5].map(|slot| worker.text(Text::Note(slot)));
        assert_eq!(notes, [b"three".to_vec(), b"four".to_vec(), vec![]]);
        assert!(!memory.write(Text::Note(3), &[b' '; layout::NOTE_CELLS * 8]));
    }

    #[test]
    fn a_text_that_does_not_fit_is_refused() {
        let (memory, _memfd) = SharedMemory::create(0).unwrap();
        assert!(!memory.write(Text::Custom, &vec![b' '; layout::CUSTOM_CELLS * 8 + 1]));
    }
}
