//! The hit ratios of `npm run bench:cache`: the same traces through the cache's store and through an LRU of the same
//! bytes. The LRU charges each entry for its key, its value and the header that the store has, and nothing for rounding.
//! One line of JSON for each trace. Arguments: the number of requests, of keys.

mod lru;
#[path = "../scaling/random.rs"]
#[allow(dead_code, reason = "the traces of scaling use more of it")]
mod random;

use drover::cache::layout::{Key, Kind, entry};
use drover::cache::store::{Limits, Store, Write};
use lru::Lru;
use random::Random;
use serde_json::json;

/// Percent of all entries' bytes.
const SHARES: [usize; 3] = [1, 5, 10];

/// Value bytes of traces of one size.
const VALUE: usize = 100;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let requests = numbers.next().unwrap_or(2_000_000);
    let keys = numbers.next().unwrap_or(200_000);
    for (name, exponent, is_mixed) in [("0.8", 0.8, false), ("1.0", 1.0, false), ("mixed", 0.8, true)] {
        let mut random = Random::new(11);
        let sizes: Vec<usize> =
            (0..keys).map(|_| if is_mixed { mixed(&mut random) } else { VALUE }).collect();
        let popularity = zipf(keys, exponent);
        for share in SHARES {
            let (drover, lru) = ratios(&mut random, requests, &popularity, &sizes, share);
            println!("{}", json!({ "trace": name, "percent": share, "drover": drover, "lru": lru }));
        }
    }
}

/// Log-normal around 300 bytes, up to 32 KB.
fn mixed(random: &mut Random) -> usize {
    ((300.0 * (random.normal() * 1.2).exp()) as usize).clamp(16, 32_000)
}

/// The cumulative share of the first keys.
fn zipf(keys: usize, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    sums.into_iter().map(|part| part / sum).collect()
}

fn name(key: usize) -> String {
    format!("user:{key:08}:page")
}

/// The hit ratios of the store and of the LRU, after a quarter of the requests to warm up.
fn ratios(
    random: &mut Random,
    requests: usize,
    popularity: &[f64],
    sizes: &[usize],
    percent: usize,
) -> (f64, f64) {
    let charge = |key: usize| entry::KEY + name(key).len() + sizes[key];
    let footprint: usize = (0..sizes.len()).map(charge).sum();
    let room = footprint * percent / 100;
    let Ok(mut store) = Store::new(Limits { bytes: room, entries: usize::MAX }, 5) else {
        panic!("no memory of {room} bytes")
    };
    let mut lru = Lru::new(store.memory().arena().len());
    let value = vec![b'v'; 32_000];
    let (mut hits, mut lru_hits, mut counted) = (0, 0, 0);
    for request in 0..requests {
        let drawn = random.uniform();
        let key = popularity.partition_point(|part| *part < drawn).min(sizes.len() - 1);
        let is_counted = request >= requests / 4;
        counted += usize::from(is_counted);
        hits += usize::from(visit(&mut store, key, &value[..sizes[key]]) && is_counted);
        lru_hits += usize::from(lru.visit(key, charge(key)) && is_counted);
    }
    let ratio = |hits: usize| (hits as f64 / counted as f64 * 1e4).round() / 1e4;
    (ratio(hits), ratio(lru_hits))
}

/// Whether the key was there; it is afterwards.
fn visit(store: &mut Store, key: usize, value: &[u8]) -> bool {
    let name = name(key);
    let key = Key { bytes: name.as_bytes(), is_wide: false };
    let memory = store.memory();
    if let Ok(found) = memory.find(memory.hash(key), key) {
        // As a reader does.
        memory.set_hint(found.block, memory.hint(found.block) + 1);
        return true;
    }
    let write = Write { key, kind: Kind::Text, value, expires: 0, grace: 0, early: 0 };
    // A value that is too large for a small cache is not stored.
    let _ = store.set(write, []);
    false
}
