//! Invalidations between machines. PURE: those of this machine that the others have not been told, and how far it knows
//! those of others.
//!
//! Redis keeps the latest in a log. A machine that was away reads there what it has missed; where the log does not reach
//! back that far, or is another one, everything that it has may be stale.

use std::collections::VecDeque;
use std::str::FromStr;

use super::parts;

/// Invalidations that wait; with more everything is invalidated.
const MAX: usize = 10_000;

/// What is invalidated in the caches of all machines. The texts have the namespace, a NUL, and what they name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    Pattern(String),
    Key(String),
    /// Without a namespace.
    Tag(String),
    Everything,
}

impl Invalidation {
    pub fn write(&self) -> Vec<u8> {
        match self {
            Self::Pattern(text) => parts::write(0, &[text.as_bytes()]),
            Self::Key(text) => parts::write(1, &[text.as_bytes()]),
            Self::Tag(text) => parts::write(2, &[text.as_bytes()]),
            Self::Everything => parts::write(3, &[]),
        }
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        match parts::read(bytes)? {
            (3, parts) if parts.is_empty() => Some(Self::Everything),
            (what, parts) => {
                let [text] = parts[..] else { return None };
                Self::of(what, parts::text(text)?.to_owned())
            }
        }
    }

    /// As clients name them.
    pub fn of(what: u8, text: String) -> Option<Self> {
        match what {
            0 => Some(Self::Pattern(text)),
            1 => Some(Self::Key(text)),
            2 => Some(Self::Tag(text)),
            _ => None,
        }
    }
}

/// An entry's place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    time: u64,
    number: u64,
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (time, number) = text.split_once('-').ok_or(())?;
        Ok(Self { time: time.parse().map_err(drop)?, number: number.parse().map_err(drop)? })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.time, self.number)
    }
}

/// The log as a heartbeat found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Of this life of the server's data.
    pub epoch: String,
    /// None: it is empty.
    pub first: Option<Place>,
    pub last: Option<Place>,
}

/// What a machine does that listens again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    Nothing,
    /// It reads the entries after this one.
    Since(Place),
    /// Everything may be stale.
    Everything,
}

#[derive(Default)]
pub struct Backlog {
    waiting: VecDeque<Invalidation>,
    /// How many were pushed, and how many of those that were taken have been told.
    pushed: u64,
    taken: usize,
    /// What is known of the log: its epoch, and the last entry that was applied here.
    known: Option<(String, Place)>,
}

impl Backlog {
    /// An invalidation of this machine, to be told; returns its number for `is_told`.
    pub fn push(&mut self, invalidation: Invalidation) -> u64 {
        self.enqueue(invalidation);
        self.pushed += 1;
        self.pushed
    }

    /// Whether the others were told this invalidation and all before it.
    pub fn is_told(&self, number: u64) -> bool {
        number + (self.waiting.len() + self.taken) as u64 <= self.pushed
    }

    fn enqueue(&mut self, invalidation: Invalidation) {
        if self.waiting.front() == Some(&Invalidation::Everything) {
            return;
        }
        if self.waiting.len() >= MAX || invalidation == Invalidation::Everything {
            self.waiting.clear();
            self.waiting.push_back(Invalidation::Everything);
        } else {
            self.waiting.push_back(invalidation);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes up to `most` that wait.
    pub fn take(&mut self, most: usize) -> Vec<Invalidation> {
        self.taken = self.waiting.len().min(most);
        self.waiting.drain(..self.taken).collect()
    }

    /// Those that were taken have been told.
    pub fn told(&mut self) {
        self.taken = 0;
    }

    /// They could not be told.
    pub fn put_back(&mut self, taken: Vec<Invalidation>) {
        self.taken = 0;
        let later = std::mem::take(&mut self.waiting);
        taken.into_iter().chain(later).for_each(|invalidation| self.enqueue(invalidation));
    }

    /// The machine listens (again), and has found the log like this.
    pub fn listens(&mut self, found: &LogState) -> CatchUp {
        let last = found.last.unwrap_or_default();
        let known = self.known.replace((found.epoch.clone(), last));
        let Some((_, seen)) = known.filter(|(epoch, _)| *epoch == found.epoch) else {
            return CatchUp::Everything;
        };
        match seen.cmp(&last) {
            std::cmp::Ordering::Equal => CatchUp::Nothing,
            // A server that has lost the end of the log.
            std::cmp::Ordering::Greater => CatchUp::Everything,
            // The entry itself is still there, or nothing was removed yet.
            std::cmp::Ordering::Less if found.first.is_some_and(|first| first <= seen) => {
                CatchUp::Since(seen)
            }
            std::cmp::Ordering::Less => CatchUp::Everything,
        }
    }

    /// An entry has come; returns whether it is new.
    pub fn received(&mut self, place: Place) -> bool {
        let Some((_, seen)) = &mut self.known else { return true };
        let is_new = place > *seen;
        *seen = place.max(*seen);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u64) -> Place {
        Place { time: 5, number }
    }

    fn log(epoch: &str, first: u64, last: u64) -> LogState {
        LogState { epoch: epoch.into(), first: Some(place(first)), last: Some(place(last)) }
    }

    #[test]
    fn what_was_missed_is_read_where_the_log_reaches_back() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.listens(&log("a", 1, 4)), CatchUp::Everything, "it knows nothing yet");
        assert!(backlog.received(place(5)));
        assert!(!backlog.received(place(5)), "again");
        assert_eq!(backlog.listens(&log("a", 1, 5)), CatchUp::Nothing);
        assert_eq!(backlog.listens(&log("a", 5, 9)), CatchUp::Since(place(5)));
        assert_eq!(backlog.listens(&log("a", 12, 20)), CatchUp::Everything, "it was cut");
        assert_eq!(backlog.listens(&log("a", 12, 19)), CatchUp::Everything, "its end is lost");
        assert_eq!(backlog.listens(&log("b", 12, 19)), CatchUp::Everything, "another one");
        let empty = LogState { epoch: "b".into(), ..LogState::default() };
        assert_eq!(backlog.listens(&empty), CatchUp::Everything, "it is lost");
        assert_eq!(backlog.listens(&empty), CatchUp::Nothing);
    }

    #[test]
    fn what_could_not_be_told_waits_in_order_and_too_much_of_it_is_everything() {
        let pattern = |text: &str| Invalidation::Pattern(text.into());
        let mut backlog = Backlog::default();
        backlog.push(pattern("a"));
        backlog.push(pattern("b"));
        let taken = backlog.take(1);
        assert_eq!(taken, [pattern("a")]);
        backlog.push(pattern("c"));
        backlog.put_back(taken);
        assert_eq!(backlog.take(10), [pattern("a"), pattern("b"), pattern("c")]);
        assert!(backlog.is_empty());
        for _ in 0..=MAX {
            backlog.push(pattern("a"));
        }
        backlog.push(pattern("b"));
        assert_eq!(backlog.take(10), [Invalidation::Everything]);
    }

    #[test]
    fn one_is_told_when_it_and_all_before_it_are() {
        let pattern = |text: &str| Invalidation::Pattern(text.into());
        let mut backlog = Backlog::default();
        let [first, second, third] = ["a", "b", "c"].map(|text| backlog.push(pattern(text)));
        let told = |backlog: &Backlog| [first, second, third].map(|number| backlog.is_told(number));
        assert_eq!(told(&backlog), [false, false, false]);
        let taken = backlog.take(2);
        assert_eq!(told(&backlog), [false, false, false], "on their way");
        backlog.put_back(taken);
        assert_eq!(told(&backlog), [false, false, false]);
        backlog.take(2);
        backlog.told();
        assert_eq!(told(&backlog), [true, true, false]);
        backlog.take(2);
        backlog.told();
        assert_eq!(told(&backlog), [true, true, true]);
    }

    #[test]
    fn an_invalidation_survives_the_wire() {
        for invalidation in [
            Invalidation::Pattern("user:*".into()),
            Invalidation::Key("ns\0ä".into()),
            Invalidation::Tag("t".into()),
            Invalidation::Everything,
        ] {
            assert_eq!(Invalidation::read(&invalidation.write()), Some(invalidation));
        }
        assert_eq!(Invalidation::read(&parts::write(0, &[])), None);
        assert_eq!(Invalidation::read(&parts::write(9, &[b"a"])), None);
        assert_eq!(Invalidation::read(b""), None);
    }

    #[test]
    fn places_are_ordered_by_time_and_number() {
        let of = |text: &str| text.parse::<Place>().unwrap();
        assert!(of("9-2") < of("9-10") && of("9-10") < of("10-0"));
        assert_eq!(of("9-10").to_string(), "9-10");
        assert!("9".parse::<Place>().is_err());
    }
}
