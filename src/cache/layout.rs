//! Where the fields of the shared cache are. All numbers are little-endian; a reference is a position in units of 16
//! bytes, 0 means none. Version 1.
//!
//! Memfd `cache`, which only the primary can write. Workers map it read-only:
//!
//! | offset | |
//! | --- | --- |
//! | 0 | the header: u32 cells, see the constants |
//! | 256 | `applied`: a u32 for each client, the number of its last write that is visible |
//! | 4096 | buckets, a power of two of them: `{ version u32, head u32 }`; the version is odd during a change |
//! | arena | blocks, see below |
//!
//! An entry, immutable except for `next`, is one block or a list of blocks:
//!
//! | offset | type | |
//! | --- | --- | --- |
//! | 0 | u32 | the allocator's own (`blocks`) |
//! | 4 | u32 | reference of the next entry in the bucket |
//! | 8 | u32 | hash of the key |
//! | 12 | u16, u8, u8 | units of the key, kind of the value, flags |
//! | 16 | f64 | expires, in ms since 1970; 0: never |
//! | 24 | u32 | bytes of the value |
//! | 28 | u32 | reference of the second block; 0: the value is whole in this one |
//! | 32 | u32 | the writer's id of the entry |
//! | 36 | u32 | ms after `expires` for which the stale value may be used |
//! | 40 | u32 | ms before `expires` from which the value may be computed anew |
//! | 44 | | the key (latin1 or UTF-16), padded to 4 bytes; then the value |
//!
//! A further block of a value: `{ allocator u32, next u32, bytes u32 }`, then the bytes. The first block has
//! `value bytes - bytes of all further blocks`.
//!
//! Memfd `hints`, which workers can write unless it is withheld from them. Wrong contents change only what is evicted
//! and the counts of counters: a byte for each 32 bytes of the arena, 0 to 3: how often the entry that begins there was
//! read. Memfd `counters`, likewise: u64 cells, `generation << 48 | value`, both two's complement. Memfd `figures`,
//! likewise: u64 cells, the figures of the namespaces, [`STATISTICS_ROWS`] rows of [`figure::COUNT`].
//!
//! When the cache gets another size the first three are replaced while clients use them. The entries are copied to new
//! ones with the same seed. Then, before anything else changes, [`header::RETIRED`] is set; each counter gets its next
//! generation, so that an increment in the old memory is in the count that moves, or fails; the clients are sent the new
//! ones; and the old buckets are emptied, so that a look there is a miss and never an old value. A client that misses
//! something there maps the new ones at once. Until it has, the writer keeps its `applied` in the old memory too.
//!
//! A reader loads the version (acquire), follows the references with bounds and a maximum number of steps, copies the
//! value, and takes it only if the version is the same afterwards. A block is written again only after the version of
//! its bucket has changed.

/// Header cells.
pub mod header {
    pub const LAYOUT: usize = 0;
    /// Number of buckets - 1.
    pub const MASK: usize = 1;
    pub const SEED: usize = 2;
    /// First byte of the arena.
    pub const ARENA: usize = 3;
    /// References from this one on are outside.
    pub const END: usize = 4;
    /// 1: the entries are in another memory, or will be at once; what is not found here may be there.
    pub const RETIRED: usize = 5;
}

pub const LAYOUT_VERSION: u32 = 1;

pub const APPLIED: usize = 256;
/// Clients: slots of workers, and the primary's own.
pub const MAX_CLIENTS: usize = (BUCKETS - APPLIED) / 4;
pub const BUCKETS: usize = 4096;

/// Bytes of a reference's unit.
pub const UNIT: usize = 16;

pub mod entry {
    pub const NEXT: usize = 4;
    pub const HASH: usize = 8;
    pub const SHAPE: usize = 12;
    pub const EXPIRES: usize = 16;
    pub const VALUE_BYTES: usize = 24;
    pub const MORE: usize = 28;
    pub const ID: usize = 32;
    pub const GRACE: usize = 36;
    pub const EARLY: usize = 40;
    pub const KEY: usize = 44;
}

/// A further block of a value.
pub mod more {
    pub const NEXT: usize = 4;
    pub const BYTES: usize = 8;
    pub const DATA: usize = 12;
}

/// Flag: the key is UTF-16.
pub const WIDE_KEY: u8 = 1;

/// Bytes of the arena per hint.
pub const HINT_SPAN: usize = 32;
/// Maximum value of a hint.
pub const MAX_HINT: u8 = 3;

/// Namespaces that have figures of their own, with the row of all others.
pub const STATISTICS_ROWS: usize = 64;
/// Bytes of the figures.
pub const STATISTICS: usize = STATISTICS_ROWS * figure::COUNT * 8;

/// The figures of a namespace. Processes count the first five.
pub mod figure {
    pub const NEAR_HITS: usize = 0;
    pub const FAR_HITS: usize = 1;
    pub const MISSES: usize = 2;
    pub const COMPUTED: usize = 3;
    pub const WAITED: usize = 4;
    pub const ENTRIES: usize = 5;
    pub const BYTES: usize = 6;
    pub const SETS: usize = 7;
    pub const EVICTED: usize = 8;
    pub const EXPIRED: usize = 9;
    pub const INVALIDATED: usize = 10;
    pub const REFUSED: usize = 11;
    pub const COUNT: usize = 12;
}

/// Bits of a counter's value.
pub const COUNT_BITS: u32 = 48;

/// Units (bytes, or 16-bit units) of a key.
pub const MAX_KEY_UNITS: usize = 4096;

/// How a value is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Latin1.
    Text = 0,
    /// UTF-16.
    WideText = 1,
    Bytes = 2,
    /// JSON in latin1.
    Json = 3,
    /// JSON in UTF-16.
    WideJson = 4,
    /// The structured clone algorithm, as the runtime encodes it.
    Clone = 5,
    /// `{ cell u32, generation u32 }` of a counter.
    Counter = 6,
}

impl Kind {
    pub fn from_number(number: u8) -> Option<Self> {
        const ALL: [Kind; 7] =
            [Kind::Text, Kind::WideText, Kind::Bytes, Kind::Json, Kind::WideJson, Kind::Clone, Kind::Counter];
        ALL.get(usize::from(number)).copied()
    }
}

/// A key as it is stored: the name of its namespace, a 0 unit, and the program's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    /// UTF-16, else latin1. A key that can be latin1 is latin1.
    pub is_wide: bool,
}

/// The units of a text as they are stored, and whether they are UTF-16.
pub fn units_of(text: &str) -> (Vec<u8>, bool) {
    let narrow: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(letter).ok()).collect();
    match narrow {
        Some(bytes) => (bytes, false),
        None => (text.encode_utf16().flat_map(u16::to_le_bytes).collect(), true),
    }
}

impl Key<'_> {
    pub fn text(self) -> String {
        if self.is_wide {
            let units: Vec<u16> =
                self.bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
            String::from_utf16_lossy(&units)
        } else {
            self.bytes.iter().map(|byte| char::from(*byte)).collect()
        }
    }

    pub fn units(self) -> usize {
        self.bytes.len() >> u8::from(self.is_wide)
    }

    /// The hash of its units; readers compute the same in JavaScript.
    pub fn hash(self, seed: u32) -> u32 {
        if self.is_wide {
            hash(seed, self.bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)))
        } else {
            hash(seed, self.bytes.iter().map(|byte| u16::from(*byte)))
        }
    }
}

fn hash(seed: u32, units: impl Iterator<Item = u16>) -> u32 {
    let mixed = units.fold(seed, |state, unit| {
        let state = (state ^ u32::from(unit)).wrapping_mul(0x0100_0193);
        state ^ state >> 15
    });
    let mixed = mixed.wrapping_mul(0x2c1b_3c6d);
    mixed ^ mixed >> 13
}
