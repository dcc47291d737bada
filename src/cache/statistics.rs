//! The figures of each namespace, as cells in a memory that all processes may change: a process counts its looks, the
//! writer everything else. It stays the same while the memory of the entries gets another size.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use super::layout::{Key, STATISTICS, STATISTICS_ROWS, figure};
use crate::metrics::instrument::OTHERS;
use crate::model::CacheStatistics;
use crate::sys::byte_memory::ByteMapping;
use crate::sys::memory;

/// The cell of a figure.
pub fn cell(row: u8, figure: usize) -> usize {
    usize::from(row) * figure::COUNT + figure
}

/// The last row has the namespaces that came too late for one of their own.
const LAST: usize = STATISTICS_ROWS - 1;

/// The rows, for other threads.
pub struct Board {
    memory: ByteMapping,
    descriptor: OwnedFd,
    /// By row.
    names: Mutex<Vec<String>>,
}

impl Board {
    /// # Errors
    /// The kernel has no descriptor or memory for it.
    pub fn new() -> io::Result<Arc<Self>> {
        let descriptor = memory::create("drover-cache-figures", STATISTICS / 8)?;
        let memory = ByteMapping::new(descriptor.as_fd(), STATISTICS)?;
        memory::seal_size(&descriptor)?;
        Ok(Arc::new(Self { memory, descriptor, names: Mutex::default() }))
    }

    /// Its memory, for processes that count.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    fn add_name(&self, name: String) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }

    /// The figures of every namespace.
    pub fn read(&self) -> Vec<CacheStatistics> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rows = names.into_iter().zip(0u8..);
        rows.map(|(namespace, row)| self.row(namespace, row)).collect()
    }

    /// A figure of a row.
    pub fn figure(&self, row: u8, figure: usize) -> u64 {
        self.memory.cell(cell(row, figure) * 8).load(Relaxed)
    }

    fn row(&self, namespace: String, row: u8) -> CacheStatistics {
        let value = |figure| self.figure(row, figure);
        CacheStatistics {
            namespace,
            entries: value(figure::ENTRIES),
            bytes: value(figure::BYTES),
            near_hits: value(figure::NEAR_HITS),
            far_hits: value(figure::FAR_HITS),
            misses: value(figure::MISSES),
            computed: value(figure::COMPUTED),
            waited: value(figure::WAITED),
            sets: value(figure::SETS),
            evicted: value(figure::EVICTED),
            expired: value(figure::EXPIRED),
            invalidated: value(figure::INVALIDATED),
            refused: value(figure::REFUSED),
        }
    }

    /// Adds to a figure; also what is less.
    pub fn add(&self, row: u8, figure: usize, by: i64) {
        self.memory.cell(cell(row, figure) * 8).fetch_add(by as u64, Relaxed);
    }
}

/// The writer's rows by namespace.
pub struct Rows {
    pub board: Arc<Board>,
    rows: HashMap<String, u8>,
    /// The last row is in use.
    has_others: bool,
}

impl Rows {
    pub fn new(board: Arc<Board>) -> Self {
        Self { board, rows: HashMap::new(), has_others: false }
    }

    /// The row of a key's namespace.
    pub fn of(&mut self, key: Key) -> u8 {
        let name = Key { bytes: namespace_of(key), ..key }.text();
        if let Some(row) = self.rows.get(&name) {
            return *row;
        }
        let row = self.rows.len().min(LAST);
        if row < LAST {
            self.rows.insert(name.clone(), row as u8);
            self.board.add_name(name);
        } else if !self.has_others {
            self.has_others = true;
            self.board.add_name(OTHERS.to_owned());
        }
        row as u8
    }
}

/// The part of a key before its first unit 0; all of it if there is none.
fn namespace_of(key: Key<'_>) -> &[u8] {
    let end = if key.is_wide {
        key.bytes.as_chunks::<2>().0.iter().position(|unit| *unit == [0, 0]).map(|units| units * 2)
    } else {
        key.bytes.iter().position(|byte| *byte == 0)
    };
    &key.bytes[..end.unwrap_or(key.bytes.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        Rows::new(Board::new().unwrap())
    }

    fn key(bytes: &[u8]) -> Key<'_> {
        Key { bytes, is_wide: false }
    }

    #[test]
    fn each_namespace_has_its_figures() {
        let mut rows = rows();
        let (own, users) = (rows.of(key(b"\0key")), rows.of(key(b"users\0key")));
        assert_eq!((own, users, rows.of(key(b"users\0other"))), (0, 1, 1));
        rows.board.add(users, figure::BYTES, 100);
        rows.board.add(users, figure::BYTES, -40);
        rows.board.add(own, figure::MISSES, 2);
        let found = rows.board.read();
        let names: Vec<&str> = found.iter().map(|row| row.namespace.as_str()).collect();
        assert_eq!(names, ["", "users"]);
        assert_eq!((found[0].misses, found[1].bytes), (2, 60));
    }

    #[test]
    fn a_wide_key_is_of_the_same_namespace() {
        let mut rows = rows();
        assert_eq!(rows.of(key(b"a\0key")), 0);
        let wide: Vec<u8> = "a\0Ω".encode_utf16().flat_map(u16::to_le_bytes).collect();
        rows.of(Key { bytes: &wide, is_wide: true });
        let wide: Vec<u8> = "Ω\0a".encode_utf16().flat_map(u16::to_le_bytes).collect();
        rows.of(Key { bytes: &wide, is_wide: true });
        let names: Vec<String> = rows.board.read().into_iter().map(|row| row.namespace).collect();
        assert_eq!(names, ["a", "Ω"], "whatever the width of the key");
    }

    #[test]
    fn namespaces_beyond_the_limit_share_the_last_row() {
        let mut rows = rows();
        for number in 0..100 {
            rows.of(key(format!("{number}\0").as_bytes()));
        }
        let found = rows.board.read();
        assert_eq!(found.len(), STATISTICS_ROWS);
        assert_eq!(found[LAST].namespace, OTHERS);
        assert_eq!(usize::from(rows.of(key(b"more\0"))), LAST);
    }
}
