//! The metrics of programs in shared memory: a process defines families and series in its own segment, every process
//! reads all of them, and the counts of ended workers are kept.

use std::collections::HashMap;

use super::cells::Cells;
use super::segment::{Record, Segment};
use super::shared::SharedMemory;
use crate::error::{Code, Error, Result};
use crate::metrics::instrument::{Definition, Families, OTHERS};
use crate::metrics::layout::segment::{DROPPED, LOST};
use crate::metrics::layout::{
    PAGE_CELLS, PAGES_A_SLOT, PRIMARY_SEGMENT, RETIRED_CELLS, RETIRED_SEGMENT, SEGMENT_CELLS,
};
use crate::metrics::text::Kind;
use crate::model::WorkerId;

/// A process's own segment, for writing.
#[derive(Clone)]
pub struct MetricStore {
    memory: SharedMemory,
    segment: Segment,
}

/// Maximum number of series of one of drover's families that are kept of ended workers, before further ones are summed.
const MAX_KEPT: usize = 256;

/// Families of a segment, by the cell of their record.
type Known = HashMap<usize, Definition>;

impl MetricStore {
    pub fn of_worker(memory: &SharedMemory, worker: WorkerId) -> Self {
        Self { memory: memory.clone(), segment: memory.segment_of(worker) }
    }

    pub fn of_primary(memory: &SharedMemory) -> Self {
        Self { memory: memory.clone(), segment: memory.primary_segment() }
    }

    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// The segment's cells.
    pub fn cells(&self) -> &Cells {
        self.segment.cells()
    }

    /// The cell of a family, which is the same for the same definition, and the stored definition.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`: it is invalid, or differs from the existing one with that name. `RESOURCE_EXHAUSTED`: this
    /// process has too many.
    pub fn define(&self, definition: Definition) -> Result<(usize, Definition)> {
        let definition = definition.checked()?;
        for record in self.segment.records() {
            let Record::Family { at, definition: own } = record else { continue };
            if own == definition {
                return Ok((at, definition));
            }
            if own.name == definition.name {
                return Err(definition.defined_otherwise(&own));
            }
            definition.check_beside(&own)?;
        }
        for segment in self.memory.segments() {
            for record in segment.records() {
                if let Record::Family { definition: other, .. } = record {
                    definition.check_beside(&other)?;
                }
            }
        }
        match self.segment.append(0, &text(&definition), 0) {
            Some(at) => Ok((at, definition)),
            None => Err(Error::new(
                Code::ResourceExhausted,
                format!(
                    "There is no room for the metric {}: this process has too many series",
                    definition.name
                ),
            )),
        }
    }

    /// The cell of one of drover's own families, whose names are reserved; None without room.
    pub fn own_family(&self, definition: &Definition) -> Option<usize> {
        let known = self.segment.records().into_iter().find_map(|record| match record {
            Record::Family { at, definition: known } => (known == *definition).then_some(at),
            Record::Series { .. } => None,
        });
        known.or_else(|| self.segment.append(0, &text(definition), 0))
    }

    pub fn add(&self, at: usize, by: f64) {
        self.segment.add(at, by);
    }

    /// Counts a value that was dropped for lack of room.
    pub fn drop_value(&self) {
        self.segment.add(DROPPED, 1.0);
    }

    /// The cell of a new series' first value; None without room.
    pub fn series(&self, family: usize, labels: &[String]) -> Option<usize> {
        let segment = &self.segment;
        let Some(Record::Family { definition, .. }) = segment.record(family) else { return None };
        let values = definition.values();
        let at = segment.append(family, &serde_json::json!(labels).to_string(), values)?;
        Some(segment.values_of(at, values))
    }
}

fn text(definition: &Definition) -> String {
    serde_json::json!(definition).to_string()
}

impl SharedMemory {
    fn segment_of(&self, worker: WorkerId) -> Segment {
        Segment::new(self.area(worker).from(PAGE_CELLS), SEGMENT_CELLS)
    }

    fn primary_segment(&self) -> Segment {
        Segment::new(self.cluster().from(PRIMARY_SEGMENT), SEGMENT_CELLS)
    }

    fn retired_segment(&self) -> Segment {
        Segment::new(self.cluster().from(RETIRED_SEGMENT), RETIRED_CELLS)
    }

    /// Every non-empty segment, those of running processes first.
    fn segments(&self) -> impl Iterator<Item = Segment> {
        let of_slot = |slot| {
            let workers = (0..PAGES_A_SLOT as u32).map(move |generation| WorkerId { slot, generation });
            workers.map(|worker| self.segment_of(worker))
        };
        let living = std::iter::once(self.primary_segment()).chain((0..self.slots()).flat_map(of_slot));
        living.chain([self.retired_segment()]).filter(|segment| !segment.is_empty())
    }

    /// The aggregated metrics of all programs.
    pub fn metric_store(&self) -> Families {
        self.while_not_merging(|| {
            let mut families = Families::default();
            for segment in self.segments() {
                families.dropped += segment.dropped();
                each_series(&segment, |definition, labels, values| {
                    families.add(definition, labels, values);
                });
            }
            families.lost = self.retired_segment().lost();
            families
        })
    }

    /// Merges the segment of an ended worker; returns how many series had no room.
    pub(super) fn retire_segment(&self, worker: WorkerId) -> u32 {
        let gone = self.segment_of(worker);
        if gone.is_empty() {
            return 0;
        }
        let mut kept = Kept::read(self.retired_segment());
        let mut lost = 0;
        each_series(&gone, |definition, labels, values| {
            // A gauge is the current state: an ended worker has none.
            if definition.kind != Kind::Gauge && !kept.add(definition, labels, values) {
                lost += 1;
            }
        });
        kept.segment.add(DROPPED, gone.dropped());
        kept.segment.add(LOST, f64::from(lost));
        gone.clear();
        lost
    }
}

/// Calls `act` for each series of a segment whose family is known and whose number of values matches.
fn each_series(segment: &Segment, mut act: impl FnMut(&Definition, &[String], &[f64])) {
    let mut families = Known::new();
    for record in segment.records() {
        match record {
            Record::Family { at, definition } => drop(families.insert(at, definition)),
            Record::Series { family, labels, first, values } => {
                let Some(definition) = families.get(&family).filter(|known| known.values() == values) else {
                    continue;
                };
                let values: Vec<f64> = (first..first + values).map(|at| segment.value(at)).collect();
                act(definition, &labels, &values);
            }
        }
    }
}

/// The retired segment, with an index of its records.
struct Kept {
    segment: Segment,
    families: Vec<(usize, Definition)>,
    series: HashMap<(usize, Vec<String>), usize>,
}

impl Kept {
    fn read(segment: Segment) -> Self {
        let (mut families, mut series) = (Vec::new(), HashMap::new());
        for record in segment.records() {
            match record {
                Record::Family { at, definition } => families.push((at, definition)),
                Record::Series { family, labels, first, .. } => drop(series.insert((family, labels), first)),
            }
        }
        Self { segment, families, series }
    }

    fn family(&mut self, definition: &Definition) -> Option<usize> {
        let same = |known: &Definition| {
            known.name == definition.name && known.labels == definition.labels && known.agrees(definition)
        };
        if let Some((at, _)) = self.families.iter().find(|(_, known)| same(known)) {
            return Some(*at);
        }
        let at = self.segment.append(0, &text(definition), 0)?;
        self.families.push((at, definition.clone()));
        Some(at)
    }

    fn count(&self, family: usize) -> usize {
        self.series.keys().filter(|(of, _)| *of == family).count()
    }

    /// False when there is no room.
    fn add(&mut self, definition: &Definition, labels: &[String], values: &[f64]) -> bool {
        let Some(family) = self.family(definition) else { return false };
        let mut key = (family, labels.to_vec());
        // Drover's own series leave room for the program's, whatever the number of message types.
        if definition.is_drovers() && !self.series.contains_key(&key) && self.count(family) >= MAX_KEPT {
            key.1[0] = OTHERS.to_owned();
        }
        let first = match self.series.get(&key) {
            Some(first) => *first,
            None => {
                let text = serde_json::json!(key.1).to_string();
                let Some(at) = self.segment.append(family, &text, values.len()) else { return false };
                let first = self.segment.values_of(at, values.len());
                self.series.insert(key, first);
                first
            }
        };
        values.iter().enumerate().for_each(|(index, value)| self.segment.add(first + index, *value));
        true
    }
}

#[cfg(test)]
mod tests;
