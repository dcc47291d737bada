use super::*;
use crate::cache::counters::Counter;
use crate::cache::layout::{APPLIED, BUCKETS, HINT_SPAN, STATISTICS_ROWS, UNIT, header, more};
use crate::cache::space::MAX_PARTS;
use crate::sys::byte_memory::ByteMapping;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Of a test that waits for a race.
const MAX_ROUNDS: usize = 50_000_000;

const NO_TAGS: [&[u8]; 0] = [];

fn key(text: &str) -> Key<'_> {
    Key { bytes: text.as_bytes(), is_wide: false }
}

fn text<'a>(name: &'a str, value: &'a [u8]) -> Write<'a> {
    Write { key: key(name), kind: Kind::Text, value, expires: 0, grace: 0, early: 0 }
}

fn store(bytes: usize) -> Store {
    Store::new(Limits { bytes, entries: usize::MAX }, 7).unwrap()
}

/// A figure of all namespaces.
fn total(store: &Store, figure: usize) -> u64 {
    (0..STATISTICS_ROWS as u8).map(|row| store.board().figure(row, figure)).sum()
}

fn value(store: &Store, name: &str) -> Option<Vec<u8>> {
    store.get(key(name), 0).map(|(_, value)| value)
}

#[test]
fn a_value_is_there_until_it_is_deleted() {
    let mut store = store(64 * 1024);
    store.set(text("a", b"1"), NO_TAGS).unwrap();
    store.set(text("b", b"2"), NO_TAGS).unwrap();
    store.set(text("a", b"three"), NO_TAGS).unwrap();
    assert_eq!((value(&store, "a"), value(&store, "b")), (Some(b"three".into()), Some(b"2".into())));
    assert!(store.delete(key("a")) && !store.delete(key("a")));
    assert_eq!((value(&store, "a"), store.entries()), (None, 1));
}

#[test]
fn a_deleted_cache_is_empty_memory() {
    let mut store = store(64 * 1024);
    for round in 0..20 {
        for index in 0..50 {
            let long = vec![round; usize::from(round) * 37 % 900];
            store.set(text(&format!("key {index}"), &long), [b"all".as_slice()]).unwrap();
        }
        store.invalidate_tag(b"all");
        assert_eq!((store.entries(), store.used_bytes()), (0, UNIT), "the last unit is never free");
    }
}

#[test]
fn a_value_ends_with_its_time_and_is_stale_in_its_grace() {
    let mut store = store(64 * 1024);
    store.set(Write { expires: 100, grace: 50, ..text("a", b"1") }, NO_TAGS).unwrap();
    assert!(store.get(key("a"), 99).is_some());
    assert!(store.get(key("a"), 100).is_none(), "it is stale");
    assert_eq!(store.expire(149, 10), Some(150));
    assert_eq!(store.entries(), 1, "its grace lasts");
    assert_eq!(store.expire(150, 10), None);
    assert_eq!((store.entries(), total(&store, figure::EXPIRED)), (0, 1));
}

#[test]
fn expiry_is_done_in_parts() {
    let mut store = store(64 * 1024);
    for index in 0..10 {
        store.set(Write { expires: 100, ..text(&index.to_string(), b"1") }, NO_TAGS).unwrap();
    }
    assert_eq!(store.expire(200, 4), Some(200), "at once");
    assert_eq!(store.entries(), 6);
    assert_eq!(store.expire(200, 100), None);
}

#[test]
fn a_full_cache_evicts_and_keeps_what_is_read() {
    let mut store = store(64 * 1024);
    store.set(text("hot", b"hot"), NO_TAGS).unwrap();
    for index in 0..5000 {
        let hot = store.space.memory.find(store.space.memory.hash(key("hot")), key("hot")).unwrap().block;
        store.space.memory.set_hint(hot, 3);
        store.set(text(&format!("cold {index}"), &[0; 100]), NO_TAGS).unwrap();
    }
    assert!(value(&store, "hot").is_some());
    assert!(
        total(&store, figure::EVICTED) > 4000 && store.used_bytes() > 60 * 1024,
        "{}",
        store.used_bytes()
    );
}

#[test]
fn more_entries_than_allowed_evict_others() {
    let mut store = Store::new(Limits { bytes: 64 * 1024, entries: 10 }, 7).unwrap();
    (0..100).for_each(|index| store.set(text(&index.to_string(), b"1"), NO_TAGS).unwrap());
    assert_eq!((store.entries(), total(&store, figure::EVICTED)), (10, 90));
    store.set(text("99", b"2"), NO_TAGS).unwrap();
    assert_eq!(total(&store, figure::EVICTED), 90, "the entry was there");
}

#[test]
fn a_large_value_finds_room_between_small_ones() {
    let mut store = store(64 * 1024);
    (0..400).for_each(|index| store.set(text(&index.to_string(), &[1; 100]), NO_TAGS).unwrap());
    // Every second one: there is no room in one piece.
    (0..400).step_by(2).for_each(|index| assert!(store.delete(key(&index.to_string()))));
    let large: Vec<u8> = (0..8000u32).map(|number| number as u8).collect();
    store.set(text("large", &large), NO_TAGS).unwrap();
    assert_eq!(value(&store, "large"), Some(large));
}

#[test]
fn what_cannot_be_stored_is_refused_and_the_old_value_is_gone() {
    let mut store = store(64 * 1024);
    let long = "k".repeat(MAX_KEY_UNITS + 1);
    assert_eq!(store.set(text(&long, b"1"), NO_TAGS), Err(Refused::KeyTooLong));
    store.set(text("a", b"1"), NO_TAGS).unwrap();
    assert_eq!(store.set(text("a", &vec![0; 9000]), NO_TAGS), Err(Refused::ValueTooLarge));
    assert_eq!((value(&store, "a"), total(&store, figure::REFUSED)), (None, 2));
}

#[test]
fn counters_count_and_numbers_become_counters() {
    let mut store = store(64 * 1024);
    assert_eq!(store.increment(key("n"), 2, 500, 0), Ok(2));
    assert_eq!(store.increment(key("n"), -5, 900, 0), Ok(-3));
    assert_eq!(store.get(key("n"), 0), Some((Kind::Json, b"-3".into())));
    assert_eq!(store.increment(key("n"), 1, 900, 500), Ok(1), "it began anew after its end");
    store.set(Write { kind: Kind::Json, ..text("json", b"41") }, [b"tag".as_slice()]).unwrap();
    assert_eq!(store.increment(key("json"), 1, 0, 0), Ok(42));
    store.set(text("text", b"hello"), NO_TAGS).unwrap();
    assert_eq!(store.increment(key("text"), 1, 0, 0), Err(NotIncremented::NotANumber));
    assert_eq!(store.increment(key("json"), i64::MAX, 0, 0), Err(NotIncremented::OutOfRange));
    assert_eq!(store.invalidate_tag(b"tag"), 1, "its tags stay");
}

#[test]
fn numbers_count_without_a_cell_too() {
    // 64 KB have 256 cells.
    let mut store = store(64 * 1024);
    (0..300).for_each(|index| assert_eq!(store.increment(key(&index.to_string()), 1, 0, 0), Ok(1)));
    (0..300).for_each(|index| assert_eq!(store.increment(key(&index.to_string()), 1, 0, 0), Ok(2)));
    assert!(store.delete(key("0")));
    assert_eq!(store.increment(key("299"), 1, 0, 0), Ok(3));
}

#[test]
fn a_worker_that_stores_nonsense_in_a_cell_harms_that_count_alone() {
    let mut store = store(64 * 1024);
    store.increment(key("n"), 5, 0, 0).unwrap();
    (0..store.space.memory.counters.size() / 8)
        .for_each(|cell| store.space.memory.counters.cell(cell * 8).store(u64::MAX, Relaxed));
    assert_eq!(store.increment(key("n"), 1, 0, 0), Ok(1));
    assert_eq!(store.increment(key("n"), 1, 0, 0), Ok(2));
}

#[test]
fn a_value_is_compared_before_it_is_set() {
    let mut store = store(64 * 1024);
    let write = |value| text("a", value);
    assert_eq!(store.compare_and_set(Some((Kind::Text, b"1")), write(b"2"), NO_TAGS, 0), Ok(false));
    assert_eq!(store.compare_and_set(None, write(b"1"), NO_TAGS, 0), Ok(true));
    assert_eq!(store.compare_and_set(None, write(b"2"), NO_TAGS, 0), Ok(false));
    assert_eq!(store.compare_and_set(Some((Kind::Bytes, b"1")), write(b"2"), NO_TAGS, 0), Ok(false));
    assert_eq!(store.compare_and_set(Some((Kind::Text, b"1")), write(b"2"), NO_TAGS, 0), Ok(true));
    assert_eq!(value(&store, "a"), Some(b"2".into()));
}

#[test]
fn a_count_is_compared_as_a_number_and_counted_on_from_the_new_one() {
    let mut store = store(64 * 1024);
    let write = |value| Write { kind: Kind::Json, ..text("n", value) };
    store.increment(key("n"), 5, 0, 0).unwrap();
    assert_eq!(store.compare_and_set(Some((Kind::Json, b"4")), write(b"0"), NO_TAGS, 0), Ok(false));
    assert_eq!(store.increment(key("n"), 1, 0, 0), Ok(6));
    assert_eq!(store.compare_and_set(Some((Kind::Json, b"6")), write(b"0"), NO_TAGS, 0), Ok(true));
    assert_eq!(store.increment(key("n"), 1, 0, 0), Ok(1));
}

#[test]
fn patterns_and_tags_remove_what_they_name_and_nothing_else() {
    let mut store = store(64 * 1024);
    for name in ["user:1", "user:2", "users", "page:1"] {
        store.set(text(name, b"x"), [b"all".as_slice()]).unwrap();
    }
    let wide: Vec<u8> = "user:\u{1f600}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let wide = Key { bytes: &wide, is_wide: true };
    store.set(Write { key: wide, ..text("", b"x") }, NO_TAGS).unwrap();
    let (mut from, mut removed) = (Some(0), 0);
    while let Some(start) = from {
        let (now, next) = store.invalidate(key("user:*"), start, 2);
        (removed, from) = (removed + now, next);
    }
    assert_eq!((removed, store.entries()), (3, 2));
    assert_eq!((store.invalidate_tag(b"all"), store.entries()), (2, 0));
    assert_eq!(total(&store, figure::INVALIDATED), 5);
}

#[test]
fn keys_that_collide_evict_each_other_and_nobody_else() {
    let mut store = store(64 * 1024);
    let mask = store.space.memory.buckets() as u32 - 1;
    let names: Vec<String> = (0..100_000).map(|index| index.to_string()).collect();
    let colliding: Vec<&String> =
        names.iter().filter(|name| store.space.memory.hash(key(name)) & mask == 5).take(40).collect();
    store.set(text("other", b"1"), NO_TAGS).unwrap();
    colliding.iter().for_each(|name| store.set(text(name, b"1"), NO_TAGS).unwrap());
    assert_eq!((store.entries(), total(&store, figure::EVICTED)), (17, 24));
    assert!(value(&store, "other").is_some() && value(&store, colliding[39]).is_some());
}

/// What a worker does: reads without the writer, by the documented layout alone.
struct Reader {
    cache: ByteMapping,
    mask: usize,
    seed: u32,
    end: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Absent,
    Value(Vec<u8>),
    /// The memory changed too often.
    Busy,
}

impl Reader {
    fn of(store: &Store) -> Self {
        let length = store.space.memory.cache.size();
        let cache = ByteMapping::read_only(store.space.memory.descriptors.cache.as_fd(), length).unwrap();
        let field = |cell: usize| cache.load(cell * 4, Acquire);
        assert_eq!(field(header::LAYOUT), 1);
        let (mask, seed, end) = (field(header::MASK) as usize, field(header::SEED), field(header::END));
        Self { mask, seed, end, cache }
    }

    fn word(&self, at: usize) -> u32 {
        self.cache.load(at, Relaxed)
    }

    /// With atomic loads, so that the race is one of the protocol and not of this test.
    fn bytes(&self, at: usize, count: usize) -> Vec<u8> {
        let words = (at / 4..(at + count).div_ceil(4)).flat_map(|word| self.word(word * 4).to_le_bytes());
        words.skip(at % 4).take(count).collect()
    }

    fn get(&self, key: Key, checks: bool) -> Seen {
        let hash = key.hash(self.seed);
        let bucket = BUCKETS + (hash as usize & self.mask) * 8;
        (0..1000).find_map(|_| self.look(key, hash, bucket, checks)).unwrap_or(Seen::Busy)
    }

    fn look(&self, key: Key, hash: u32, bucket: usize, checks: bool) -> Option<Seen> {
        let version = self.cache.load(bucket, Acquire);
        let mut reference = self.word(bucket + 4);
        let mut found = Seen::Absent;
        for _ in 0..64 {
            if reference == 0 || reference >= self.end - 4 {
                break;
            }
            let at = reference as usize * UNIT;
            let shape = self.word(at + entry::SHAPE);
            if self.word(at + entry::HASH) == hash
                && (shape & 0xffff) as usize == key.units()
                && self.bytes(at + entry::KEY, key.bytes.len()) == key.bytes
            {
                found = Seen::Value(self.value(at, key)?);
                break;
            }
            reference = self.word(at + entry::NEXT);
        }
        std::sync::atomic::fence(Acquire);
        (!checks || self.word(bucket) == version).then_some(found)
    }

    fn value(&self, at: usize, key: Key) -> Option<Vec<u8>> {
        let count = self.word(at + entry::VALUE_BYTES) as usize;
        let head = entry::KEY + key.bytes.len().next_multiple_of(4);
        let room = ((self.word(at) >> 2) as usize * UNIT).checked_sub(head)?;
        let mut value = self.bounded(at + head, count.min(room))?;
        let mut next = self.word(at + entry::MORE);
        for _ in 0..MAX_PARTS {
            if next == 0 {
                break;
            }
            let at = next as usize * UNIT;
            if next >= self.end - 4 {
                return None;
            }
            value.extend(self.bounded(at + more::DATA, self.word(at + more::BYTES) as usize)?);
            next = self.word(at + more::NEXT);
        }
        Some(value)
    }

    fn bounded(&self, at: usize, count: usize) -> Option<Vec<u8>> {
        (at.checked_add(count)? <= self.cache.size()).then(|| self.bytes(at, count))
    }
}

#[test]
fn a_reader_finds_what_the_writer_stored() {
    let mut store = store(64 * 1024);
    let reader = Reader::of(&store);
    for index in 0..200u32 {
        let name = format!("key {}", index % 40);
        let long = vec![index as u8; index as usize * 29 % 3000];
        store.set(text(&name, &long), NO_TAGS).unwrap();
        assert_eq!(reader.get(key(&name), true), Seen::Value(long));
    }
    store.delete(key("key 3"));
    assert_eq!(reader.get(key("key 3"), true), Seen::Absent);
    store.space.memory.set_applied(2, 77);
    assert_eq!((reader.word(APPLIED + 8), store.space.memory.applied(2)), (77, 77));
}

/// A value whose bytes are all the same, as long as its first byte says: a torn one has others.
fn whole(value: &[u8]) -> bool {
    value
        .first()
        .is_some_and(|first| value.iter().all(|byte| byte == first) && value.len() == lengths(*first))
}

fn lengths(first: u8) -> usize {
    40 + usize::from(first) * 13 % 1500
}

/// Reads while the writer writes, at least `rounds` times and until `enough(torn, whole)`; returns both counts.
fn read_while_written(checks: bool, rounds: usize, enough: fn(usize, usize) -> bool) -> (usize, usize) {
    let mut store = store(64 * 1024);
    let reader = Reader::of(&store);
    let (is_enough, is_written) = (AtomicBool::new(false), AtomicBool::new(false));
    let name = |index: usize| format!("k{}", index % 64);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (mut torn, mut good) = (0, 0);
            for index in 0.. {
                if let Seen::Value(value) = reader.get(key(&name(index)), checks) {
                    *(if whole(&value) { &mut good } else { &mut torn }) += 1;
                }
                if enough(torn, good) {
                    is_enough.store(true, Relaxed);
                }
                if is_written.load(Relaxed) {
                    break;
                }
            }
            (torn, good)
        });
        for round in 0..MAX_ROUNDS {
            let byte = (round % 251) as u8;
            let long = vec![byte; lengths(byte)];
            store.set(text(&name(round * 7), &long), NO_TAGS).unwrap();
            if round % 9 == 0 {
                store.delete(key(&name(round)));
            }
            if round >= rounds && is_enough.load(Relaxed) {
                break;
            }
        }
        is_written.store(true, Relaxed);
        reading.join().unwrap()
    })
}

#[test]
fn no_reader_takes_a_torn_value() {
    let (torn, good) = read_while_written(true, 100_000, |_, good| good > 1000);
    assert_eq!(torn, 0);
    assert!(good > 1000, "{good}");
}

#[test]
fn without_the_versions_values_would_be_torn() {
    let (torn, good) = read_while_written(false, 0, |torn, _| torn > 0);
    assert!(torn > 0, "of {good}");
}

/// The counters that the store has in cells, with their counts.
fn counters(store: &Store) -> Vec<(i64, Counter)> {
    let live = store.metas.iter().filter(|meta| meta.is_live);
    let counters = live.filter_map(|meta| store.space.counter(meta.block));
    counters.filter_map(|counter| Some((counter.load(&store.space.memory.counters)?, counter))).collect()
}

/// Moves the rest, if the store is to have another size.
fn move_all(store: &mut Store) -> Option<Moved> {
    while store.is_moving() {
        let moved = store.move_on(1000);
        if moved.is_some() {
            return moved;
        }
    }
    None
}

#[derive(Clone, Debug)]
enum Step {
    Set { key: u8, length: usize, expires: u64, tag: u8 },
    Delete { key: u8 },
    Increment { key: u8, by: i64 },
    Tag { tag: u8 },
    Pattern { digit: u8 },
    Pass { ms: u64 },
    Resize { pages: usize },
    Move { work: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0u8..40, 0usize..2500, 0u64..60, 0u8..4)
            .prop_map(|(key, length, expires, tag)| Step::Set { key, length, expires, tag }),
        1 => (0u8..40).prop_map(|key| Step::Delete { key }),
        1 => (40u8..50, -5i64..5).prop_map(|(key, by)| Step::Increment { key, by }),
        1 => (0u8..4).prop_map(|tag| Step::Tag { tag }),
        1 => (0u8..10).prop_map(|digit| Step::Pattern { digit }),
        1 => (0u64..20).prop_map(|ms| Step::Pass { ms }),
        1 => (5usize..20).prop_map(|pages| Step::Resize { pages }),
        2 => (1usize..20).prop_map(|work| Step::Move { work }),
    ]
}

struct Expected {
    value: Vec<u8>,
    expires: u64,
    tag: Option<u8>,
}

#[test]
fn a_larger_memory_has_everything_that_was_there() {
    let mut store = store(64 * 1024);
    store.set(Write { expires: 100, grace: 50, early: 7, ..text("stale", b"1") }, [b"t".as_slice()]).unwrap();
    store.increment(key("n"), 5, 0, 0).unwrap();
    store.set(text("large", &[9; 8000]), [b"t".as_slice()]).unwrap();
    let (block, counter) = (store.metas[1].block, counters(&store)[0].1);
    store.space.memory.set_hint(block, 3);
    let sets = total(&store, figure::SETS);
    store.resize(1 << 20).unwrap();
    assert!(store.move_on(1).is_none(), "a part of it");
    // Changes of what is copied, and of what is not.
    store.set(Write { expires: 100, grace: 50, early: 8, ..text("stale", b"2") }, [b"t".as_slice()]).unwrap();
    store.set(text("late", b"3"), NO_TAGS).unwrap();
    assert_eq!(counter.add(&store.space.memory.counters, 1), Ok(6));
    let Moved { before, evicted } = move_all(&mut store).unwrap();
    assert_eq!((evicted, counter.load(&before.counters)), (0, None));
    assert_eq!(before.cache.load(header::RETIRED * 4, Relaxed), 1);
    assert_eq!(store.space.memory.hint(store.metas[1].block), 3, "it was read often");
    assert_eq!(value(&store, "large"), Some(vec![9; 8000]));
    assert_eq!(value(&store, "late"), Some(b"3".into()));
    assert_eq!(store.increment(key("n"), 1, 0, 0), Ok(7));
    assert_eq!(value(&store, "stale"), Some(b"2".into()));
    store.set(text("huge", &[1; 100_000]), NO_TAGS).unwrap();
    assert_eq!(store.expire(150, 10), None);
    assert_eq!((value(&store, "stale"), store.invalidate_tag(b"t")), (None, 1));
    let figures = [figure::SETS, figure::EVICTED, figure::EXPIRED].map(|figure| total(&store, figure));
    assert_eq!(figures, [sets + 3, 0, 1], "they go on");
}

#[test]
fn a_smaller_memory_has_what_is_read_and_counts_what_it_evicts() {
    let mut store = store(256 * 1024);
    store.keep_evicted(true);
    for index in 0..1000 {
        store.set(text(&index.to_string(), &[1; 100]), NO_TAGS).unwrap();
    }
    store.set(text("large", &[2; 20_000]), NO_TAGS).unwrap();
    for index in 0..100 {
        let name = (index * 10).to_string();
        let block = store.space.memory.find(store.space.memory.hash(key(&name)), key(&name)).unwrap().block;
        store.space.memory.set_hint(block, 3);
    }
    store.resize(64 * 1024).unwrap();
    let evicted = move_all(&mut store).unwrap().evicted;
    assert_eq!(value(&store, "large"), None, "it is larger than an eighth");
    assert!((0..100).all(|index| value(&store, &(index * 10).to_string()).is_some()));
    assert_eq!(total(&store, figure::EVICTED) as usize, evicted);
    assert_eq!((store.entries(), store.take_evicted().len()), (1001 - evicted, evicted));
    assert!(store.used_bytes() > 60 * 1024, "{}", store.used_bytes());
}

#[test]
fn numbers_without_a_cell_in_the_smaller_memory_go_on() {
    let mut store = store(128 * 1024);
    let name = |index: usize| format!("n{index}");
    for index in 0..500 {
        assert_eq!(store.increment(key(&name(index)), index as i64, 900, 0), Ok(index as i64));
    }
    let counters = counters(&store);
    assert_eq!(counters.len(), 500);
    store.resize(64 * 1024).unwrap();
    let Moved { before, evicted } = move_all(&mut store).unwrap();
    assert_eq!(evicted, 0);
    assert!(counters.iter().all(|(_, counter)| counter.add(&before.counters, 1).is_err()));
    for index in 0..500 {
        assert_eq!(store.increment(key(&name(index)), 1, 0, 0), Ok(index as i64 + 1));
    }
    assert_eq!((store.expire(900, 1000), store.entries()), (None, 0), "their ends stay");
}

#[test]
fn a_move_is_given_up_for_another_size() {
    let mut store = store(256 * 1024);
    for index in 0..100 {
        store.set(text(&index.to_string(), &[1; 1000]), NO_TAGS).unwrap();
    }
    store.resize(64 * 1024).unwrap();
    assert!(store.move_on(10).is_none());
    store.resize(512 * 1024).unwrap();
    assert_eq!(move_all(&mut store).map(|moved| moved.evicted), Some(0));
    store.resize(64 * 1024).unwrap();
    store.resize(512 * 1024).unwrap();
    assert!(!store.is_moving());
    assert_eq!((store.entries(), store.memory().arena().len()), (100, 512 * 1024));
}

#[test]
fn changes_that_go_on_do_not_delay_the_move_for_ever() {
    let mut store = store(256 * 1024);
    let set_all = |store: &mut Store| {
        (0..500).for_each(|index| store.set(text(&index.to_string(), b"1"), NO_TAGS).unwrap());
    };
    set_all(&mut store);
    store.resize(512 * 1024).unwrap();
    let mut steps = 0;
    while store.move_on(4).is_none() {
        set_all(&mut store);
        steps += 1;
        assert!(steps < 1000);
    }
    assert!(steps > 3, "{steps}");
}

/// Readers of a memory that is replaced while they look never see a value that is older than one that they or others
/// have seen.
#[test]
fn no_reader_sees_an_earlier_value_while_memories_are_replaced() {
    let mut store = store(64 * 1024);
    let (newest, is_over, found) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let (readers, joining) = std::sync::mpsc::channel::<Reader>();
    let look = |reader: &Reader| {
        let least = newest.load(Acquire);
        if let Seen::Value(value) = reader.get(key("k"), true) {
            let seen = u64::from_le_bytes(*value.first_chunk().unwrap());
            assert!(seen >= least, "{seen} after {least}");
            found.fetch_add(1, Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let is_over = &is_over;
        let reading = scope.spawn(move || {
            let mut known: Vec<Reader> = Vec::new();
            while !is_over.load(Relaxed) {
                known.extend(joining.try_iter());
                // The last ones: those before them are empty.
                known.drain(..known.len().saturating_sub(2));
                known.iter().for_each(&look);
            }
        });
        readers.send(Reader::of(&store)).unwrap();
        for round in 1..MAX_ROUNDS as u64 {
            store.set(text("k", &round.to_le_bytes()), NO_TAGS).unwrap();
            newest.store(round, Release);
            if round % 50 == 0 {
                store.resize(if round % 100 == 0 { 64 << 10 } else { 128 << 10 }).unwrap();
            }
            if let Some(Moved { before, .. }) = store.move_on(1) {
                before.empty();
                readers.send(Reader::of(&store)).unwrap();
            }
            let is_enough = round > 10_000 && found.load(Relaxed) > 10_000;
            if is_enough || reading.is_finished() {
                break;
            }
        }
        is_over.store(true, Relaxed);
        reading.join().unwrap();
    });
}

proptest! {
    /// The store beside a map: it may have evicted an entry, and has nothing that the map has not.
    #[test]
    fn it_holds_what_a_map_would(steps in prop::collection::vec(step(), 1..300)) {
        let mut store = store(32 * 1024);
        let mut reader = Reader::of(&store);
        let mut expected: HashMap<u8, Expected> = HashMap::new();
        let mut now = 1000;
        for step in steps {
            match step {
                Step::Set { key: number, length, expires, tag } => {
                    let value = vec![number; length];
                    let sets = total(&store, figure::SETS);
                    let expires = if expires == 0 { 0 } else { now + expires };
                    let name = number.to_string();
                    let write = Write { expires, ..text(&name, &value) };
                    store.set(write, [[b't', tag].as_slice()]).unwrap();
                    prop_assert_eq!(reader.get(key(&name), true), Seen::Value(value.clone()));
                    prop_assert_eq!(total(&store, figure::SETS), sets + 1);
                    expected.insert(number, Expected { value, expires, tag: Some(tag) });
                }
                Step::Delete { key: number } => {
                    let was_there = store.delete(key(&number.to_string()));
                    prop_assert!(!was_there || expected.contains_key(&number));
                    expected.remove(&number);
                }
                Step::Increment { key: number, by } => {
                    let name = number.to_string();
                    let before = store.get(key(&name), now).map(|(_, text)| String::from_utf8(text).unwrap().parse::<i64>().unwrap());
                    let count = store.increment(key(&name), by, 0, now).unwrap();
                    prop_assert_eq!(count, before.unwrap_or(0) + by);
                    expected.insert(number, Expected { value: count.to_string().into_bytes(), expires: 0, tag: None });
                }
                Step::Tag { tag } => {
                    store.invalidate_tag(&[b't', tag]);
                    expected.retain(|_, entry| entry.tag != Some(tag));
                }
                Step::Pattern { digit } => {
                    store.invalidate(key(&format!("{digit}*")), 0, u32::MAX);
                    expected.retain(|number, _| !number.to_string().starts_with(&digit.to_string()));
                }
                Step::Pass { ms } => {
                    now += ms;
                    store.expire(now, usize::MAX);
                    expected.retain(|_, entry| entry.expires == 0 || entry.expires > now);
                }
                Step::Resize { pages } => store.resize(pages * 4096).unwrap(),
                Step::Move { work } => {
                    let counters = counters(&store);
                    if let Some(Moved { before, .. }) = store.move_on(work) {
                        let found = |number: u8| reader.get(key(&number.to_string()), true);
                        for (number, entry) in expected.iter().filter(|(number, _)| **number < 40) {
                            let found = found(*number);
                            prop_assert!(found == Seen::Absent || found == Seen::Value(entry.value.clone()));
                        }
                        before.empty();
                        prop_assert!((0..50).all(|number| found(number) == Seen::Absent));
                        for (_, counter) in counters {
                            prop_assert_eq!(counter.add(&before.counters, 1), Err(NotCounted::Gone));
                        }
                        reader = Reader::of(&store);
                    }
                }
            }
            let mut live = 0;
            for number in 0..50 {
                let found = store.get(key(&number.to_string()), now).map(|(_, value)| value);
                live += usize::from(found.is_some());
                prop_assert!(found.is_none() || found == expected.get(&number).map(|entry| entry.value.clone()));
            }
            prop_assert!(store.entries() >= live);
            for number in 0..50 {
                let text = number.to_string();
                let is_there = store.space.memory.find(store.space.memory.hash(key(&text)), key(&text)).is_ok();
                prop_assert_eq!(reader.get(key(&text), true) != Seen::Absent, is_there);
            }
            let bytes: u64 = store.metas.iter().filter(|meta| meta.is_live).map(|meta| u64::from(meta.bytes)).sum();
            prop_assert_eq!(total(&store, figure::BYTES), bytes);
            prop_assert_eq!(store.used_bytes() as u64, bytes + UNIT as u64);
            prop_assert_eq!(total(&store, figure::ENTRIES) as usize, store.entries());
            // Each live entry has a hint of its own.
            let hints: BTreeSet<usize> =
                store.metas.iter().filter(|meta| meta.is_live).map(|meta| meta.block.at() / HINT_SPAN).collect();
            prop_assert_eq!(hints.len(), store.entries());
        }
        let left: Vec<Option<(Kind, Vec<u8>)>> = (0..50).map(|number| store.get(key(&number.to_string()), now)).collect();
        if move_all(&mut store).is_some_and(|moved| moved.evicted == 0) {
            let moved: Vec<_> = (0..50).map(|number| store.get(key(&number.to_string()), now)).collect();
            prop_assert_eq!(left, moved);
        }
        store.invalidate(key("*"), 0, u32::MAX);
        prop_assert_eq!((store.entries(), store.used_bytes()), (0, UNIT));
    }
}
