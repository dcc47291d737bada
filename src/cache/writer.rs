//! The one writer: takes requests of its clients in their order and answers them. It knows no socket; `service` drives it.
//! A pattern over many entries is worked off in parts, between other clients' requests; the client's own later requests
//! wait for it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::flights::{Claim, Flights, Waiting};
use super::image;
use super::layout::{Key, MAX_CLIENTS, units_of};
use super::memory::Memory;
use super::request::{Answer, Operation, Request, Status};
use super::statistics::Board;
use super::store::{EvictedKey, Limits, Millis, Moved, NotIncremented, Refused, Store, Write};

/// Entries that one step of a pattern looks at.
const SCAN: u32 = 4096;

/// Entries that are copied in one step, when the cache gets another size.
const MOVED: usize = 4096;

/// Entries that end in one step.
const MAX_EXPIRED: usize = 1024;

/// An answer for a client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reply {
    pub client: u32,
    /// The number of the request.
    pub request: u32,
    pub answer: Answer,
}

/// What clients are told that follow the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    Evicted {
        key: Vec<u8>,
        is_wide: bool,
    },
    /// Entries whose keys matched a pattern were removed.
    Invalidated {
        pattern: Vec<u8>,
        is_wide: bool,
        removed: u32,
    },
    /// Entries with a tag were removed.
    Untagged {
        tag: Vec<u8>,
        removed: u32,
    },
}

/// A pattern that is being worked off.
struct Scan {
    pattern: Vec<u8>,
    is_wide: bool,
    request: u32,
    is_awaited: bool,
    from: u32,
    removed: usize,
}

#[derive(Default)]
struct Client {
    scan: Option<Scan>,
    /// Requests that came after its pattern, with their numbers.
    later: VecDeque<(u32, Vec<u8>)>,
    /// Memories that it may still look at, with their numbers.
    before: Vec<(u32, Arc<Memory>)>,
}

/// What somebody else than a client invalidates. The texts have the namespace and a NUL before what they name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    Pattern(String),
    Key(String),
    /// Without a namespace.
    Tag(String),
    /// All but what begins with one of these texts.
    All {
        but: Vec<String>,
    },
}

/// The number of the client in whose name that is done.
pub const OUTSIDE: u32 = MAX_CLIENTS as u32 - 1;

/// Bytes that are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

pub struct Writer {
    store: Store,
    flights: Flights,
    clients: HashMap<u32, Client>,
    replies: Vec<Reply>,
    /// Clients that are told notices.
    followers: HashSet<u32>,
    notices: Vec<Notice>,
    /// Tasks that are done once.
    done: HashSet<Vec<u8>>,
    /// The number of the memory; 0: the first.
    memory: u32,
    /// The memory that the entries have left, and that still has them.
    left: Option<Arc<Memory>>,
}

/// The entries are in another memory: clients must map it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resized {
    /// Bytes of entries.
    pub bytes: usize,
    pub entries: usize,
    /// Entries that were evicted because of the new size.
    pub evicted: usize,
}

impl Writer {
    /// # Errors
    /// The kernel has no descriptors or memory for the cache.
    pub fn new(limits: Limits, seed: u32) -> io::Result<Self> {
        Ok(Self {
            store: Store::new(limits, seed)?,
            flights: Flights::default(),
            clients: HashMap::new(),
            replies: Vec::new(),
            followers: HashSet::new(),
            notices: Vec::new(),
            done: HashSet::new(),
            memory: 0,
            left: None,
        })
    }

    /// Begins to move the entries to a memory of so many bytes, a part in each `work`.
    ///
    /// # Errors
    /// See [`Store::resize`].
    pub fn resize(&mut self, bytes: usize) -> io::Result<()> {
        self.store.resize(bytes)
    }

    /// Moves some entries, if the cache is to have another size; returns when all are moved. `empty_before` must follow
    /// before anything else is done.
    pub fn move_on(&mut self) -> Option<Resized> {
        let Moved { before, evicted } = self.store.move_on(MOVED)?;
        let before = Arc::new(before);
        for (client, known) in &mut self.clients {
            self.store.memory().set_applied(*client, before.applied(*client));
            known.before.push((self.memory, before.clone()));
        }
        self.left = Some(before);
        self.memory = self.memory.wrapping_add(1);
        let bytes = self.store.memory().arena().len();
        Some(Resized { bytes, entries: self.store.entries(), evicted })
    }

    /// The clients were told of the other memory: in the one before they find nothing from now on, and never an old value.
    pub fn empty_before(&mut self) {
        self.left.take().iter().for_each(|left| left.empty());
    }

    /// The number of the memory, for clients.
    pub fn memory_number(&self) -> u32 {
        self.memory
    }

    /// Maximum bytes of a request.
    pub fn max_request(&self) -> usize {
        self.store.max_request()
    }

    /// The client's requests up to this one are visible to it, whichever memory it looks at.
    fn set_applied(&self, client: u32, number: u32) {
        self.store.memory().set_applied(client, number);
        if let Some(known) = self.clients.get(&client) {
            known.before.iter().for_each(|(_, memory)| memory.set_applied(client, number));
        }
    }

    /// Writes the contents to a file; returns the number of entries.
    ///
    /// # Errors
    /// See [`image::save`].
    pub fn save(&self, path: &Path, now: Millis) -> io::Result<usize> {
        image::save(&self.store, path, now)
    }

    /// Reads the contents of a file; None: there is none.
    ///
    /// # Errors
    /// See [`image::load`].
    pub fn load(&mut self, path: &Path, now: Millis) -> io::Result<Option<usize>> {
        image::load(&mut self.store, path, now)
    }

    pub fn memory(&self) -> &Memory {
        self.store.memory()
    }

    /// The figures of the namespaces.
    pub fn board(&self) -> &Arc<Board> {
        self.store.board()
    }

    pub fn entries(&self) -> usize {
        self.store.entries()
    }

    /// A new client; its first request has the number 1.
    pub fn join(&mut self, client: u32) {
        self.store.memory().set_applied(client, 0);
        self.clients.insert(client, Client::default());
    }

    /// The client is gone: others take over its flights. What it had asked for is done, in its order: it may have written
    /// values before its end that others rely on.
    pub fn leave(&mut self, client: u32, now: Millis) {
        while self.clients.get(&client).is_some_and(|known| known.scan.is_some()) {
            self.scan(client, now);
        }
        self.clients.remove(&client);
        self.follow(client, false);
        let owners = self.flights.gone(client);
        owners.into_iter().for_each(|next| self.reply_to(next, Status::Owned));
    }

    /// Takes a request.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn take(&mut self, client: u32, number: u32, bytes: &[u8], now: Millis) -> Result<(), Malformed> {
        let request = Request::read(bytes).ok_or(Malformed)?;
        let Some(known) = self.clients.get_mut(&client) else { return Ok(()) };
        if known.scan.is_some() {
            known.later.push_back((number, bytes.to_vec()));
        } else {
            self.perform(client, number, &request, now);
        }
        Ok(())
    }

    /// Invalidates in the name of nobody.
    pub fn invalidate(&mut self, what: Outside, now: Millis) {
        let (operation, text) = match what {
            Outside::Pattern(text) => (Operation::Invalidate, text),
            Outside::Key(text) => (Operation::Delete, text),
            Outside::Tag(text) => (Operation::InvalidateTag, text),
            Outside::All { but } => {
                let removed = self.store.clear(&but);
                let pattern = b"\0*".to_vec();
                return self.notice(|| Notice::Invalidated {
                    pattern,
                    is_wide: false,
                    removed: removed as u32,
                });
            }
        };
        // Tags are stored as they come, in UTF-8.
        let (units, is_wide) =
            if operation == Operation::InvalidateTag { (text.into_bytes(), false) } else { units_of(&text) };
        let request = Request { key: Key { bytes: &units, is_wide }, ..Request::of(operation) };
        if !self.clients.contains_key(&OUTSIDE) {
            self.join(OUTSIDE);
        }
        let bytes = [&request.head()[..], &request.parts().concat()].concat();
        // It is well-formed, and nobody waits for it.
        let _ = self.take(OUTSIDE, 0, &bytes, now);
    }

    /// Does a part of the work that is left; returns when to do it again. `now` as a result: at once.
    pub fn work(&mut self, now: Millis) -> Option<Millis> {
        let scanning: Vec<u32> = self
            .clients
            .iter()
            .filter(|(_, client)| client.scan.is_some())
            .map(|(client, _)| *client)
            .collect();
        scanning.iter().for_each(|client| self.scan(*client, now));
        let due = self.store.expire(now, MAX_EXPIRED);
        let goes_on = self.store.is_moving() || self.clients.values().any(|client| client.scan.is_some());
        if goes_on { Some(now) } else { due }
    }

    /// The answers since the last call.
    pub fn replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// What followers are told since the last call, and who they are.
    pub fn notices(&mut self) -> (Vec<Notice>, &HashSet<u32>) {
        let evicted = self.store.take_evicted().into_iter();
        let evicted = evicted.map(|EvictedKey { bytes, is_wide }| Notice::Evicted { key: bytes, is_wide });
        self.notices.extend(evicted);
        (std::mem::take(&mut self.notices), &self.followers)
    }

    fn follow(&mut self, client: u32, follows: bool) {
        let was_followed = !self.followers.is_empty();
        if follows {
            self.followers.insert(client);
        } else {
            self.followers.remove(&client);
        }
        let is_followed = !self.followers.is_empty();
        if is_followed != was_followed {
            self.store.keep_evicted(is_followed);
        }
    }

    fn notice(&mut self, notice: impl FnOnce() -> Notice) {
        if !self.followers.is_empty() {
            self.notices.push(notice());
        }
    }

    fn scan(&mut self, client: u32, now: Millis) {
        let Some(known) = self.clients.get_mut(&client) else { return };
        let Some(scan) = known.scan.as_mut() else { return };
        let Some(removed) = step(&mut self.store, scan) else { return };
        let (request, is_awaited) = (scan.request, scan.is_awaited);
        let (pattern, is_wide) = (std::mem::take(&mut scan.pattern), scan.is_wide);
        known.scan = None;
        self.notice(|| Notice::Invalidated { pattern, is_wide, removed: removed as u32 });
        self.finish(client, request, is_awaited, Ok((Status::Done, removed as f64)));
        // What came later, up to its next pattern.
        while let Some((number, bytes)) = self
            .clients
            .get_mut(&client)
            .and_then(|known| if known.scan.is_some() { None } else { known.later.pop_front() })
        {
            if let Some(request) = Request::read(&bytes) {
                self.perform(client, number, &request, now);
            }
        }
    }

    fn perform(&mut self, client: u32, number: u32, request: &Request<'_>, now: Millis) {
        let Request { key, kind, value, expires, grace, early, added, .. } = *request;
        let write = Write { key, kind, value, expires, grace, early };
        let done = |changed: bool| Ok((if changed { Status::Done } else { Status::No }, 0.0));
        let outcome = match request.operation {
            Operation::Set => {
                self.store.set(write, request.each_tag()).map(|()| (Status::Done, 0.0)).map_err(refusal)
            }
            Operation::Delete => done(self.store.delete(key)),
            Operation::Increment => {
                let counted = self.store.increment(key, added, expires, now);
                counted.map(|count| (Status::Done, count as f64)).map_err(|error| match error {
                    NotIncremented::NotANumber => Status::NotANumber,
                    NotIncremented::OutOfRange => Status::OutOfRange,
                    NotIncremented::Refused(refused) => refusal(refused),
                })
            }
            Operation::CompareAndSet => {
                let set = self.store.compare_and_set(request.expected, write, request.each_tag(), now);
                set.map_err(refusal).and_then(done)
            }
            Operation::Invalidate => {
                let scan = Scan {
                    pattern: key.bytes.to_vec(),
                    is_wide: key.is_wide,
                    request: number,
                    is_awaited: request.is_awaited,
                    from: 0,
                    removed: 0,
                };
                if let Some(known) = self.clients.get_mut(&client) {
                    known.scan = Some(scan);
                }
                return self.scan(client, now);
            }
            Operation::InvalidateTag => {
                let removed = self.store.invalidate_tag(key.bytes);
                self.notice(|| Notice::Untagged { tag: key.bytes.to_vec(), removed: removed as u32 });
                Ok((Status::Done, removed as f64))
            }
            Operation::Claim => match self.claim(client, number, key, early == 0, now) {
                Some(status) => Ok((status, 0.0)),
                None => return self.set_applied(client, number),
            },
            Operation::Release => {
                if let Some(next) = self.flights.release(&name(key), client) {
                    self.reply_to(next, Status::Owned);
                }
                done(true)
            }
            Operation::Sync => done(true),
            Operation::Namespace => Ok((Status::Done, f64::from(self.store.row_of(key)))),
            Operation::Follow => {
                self.follow(client, added != 0);
                done(true)
            }
            Operation::Once if self.done.contains(&name(key)) => Ok((Status::Landed, 0.0)),
            Operation::Once => match self.claim(client, number, key, false, now) {
                Some(status) => Ok((status, 0.0)),
                None => return self.set_applied(client, number),
            },
            Operation::Mapped => {
                if let Some(known) = self.clients.get_mut(&client) {
                    known.before.retain(|(memory, _)| i64::from(*memory) >= added);
                }
                done(true)
            }
            Operation::Finish => {
                self.done.insert(name(key));
                done(true)
            }
        };
        if request.lands {
            let landed: Vec<Waiting> = self.flights.land(&name(key)).collect();
            landed.into_iter().for_each(|waiting| self.reply_to(waiting, Status::Landed));
        }
        self.finish(client, number, request.is_awaited, outcome);
    }

    /// None: the client waits.
    fn claim(
        &mut self,
        client: u32,
        number: u32,
        key: Key,
        takes_fresh: bool,
        now: Millis,
    ) -> Option<Status> {
        if takes_fresh && self.store.get(key, now).is_some() {
            return Some(Status::Landed);
        }
        match self.flights.claim(&name(key), Waiting { client, request: number }) {
            Claim::Owned => Some(Status::Owned),
            Claim::Waits => None,
        }
    }

    /// Everything that the request changed is visible: tells the client so, and answers it. A failure is answered always.
    fn finish(
        &mut self,
        client: u32,
        request: u32,
        is_awaited: bool,
        outcome: Result<(Status, f64), Status>,
    ) {
        self.set_applied(client, request);
        let (status, number) = outcome.unwrap_or_else(|status| (status, 0.0));
        if is_awaited || outcome.is_err() {
            self.replies.push(Reply { client, request, answer: Answer { status, number } });
        }
    }

    fn reply_to(&mut self, waiting: Waiting, status: Status) {
        let Waiting { client, request } = waiting;
        self.replies.push(Reply { client, request, answer: Answer { status, number: 0.0 } });
    }
}

/// A part of a pattern's work; the number of removed entries when all is done.
fn step(store: &mut Store, scan: &mut Scan) -> Option<usize> {
    let pattern = Key { bytes: &scan.pattern, is_wide: scan.is_wide };
    let (removed, next) = store.invalidate(pattern, scan.from, SCAN);
    scan.removed += removed;
    scan.from = next.unwrap_or(scan.from);
    next.is_none().then_some(scan.removed)
}

fn refusal(refused: Refused) -> Status {
    match refused {
        Refused::KeyTooLong => Status::KeyTooLong,
        Refused::ValueTooLarge => Status::ValueTooLarge,
        Refused::NoRoom => Status::NoRoom,
    }
}

/// A key as the name of a flight.
fn name(key: Key) -> Vec<u8> {
    [&[u8::from(key.is_wide)], key.bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::layout::Kind;

    struct World {
        writer: Writer,
        numbers: HashMap<u32, u32>,
        now: Millis,
    }

    const LIMITS: Limits = Limits { bytes: 4 << 20, entries: usize::MAX };

    fn request(operation: Operation, key: &str) -> Request<'_> {
        Request { is_awaited: false, ..Request::example(operation, key) }
    }

    impl World {
        fn new(clients: u32) -> Self {
            let mut writer = Writer::new(LIMITS, 3).unwrap();
            (0..clients).for_each(|client| writer.join(client));
            Self { writer, numbers: HashMap::new(), now: 1000 }
        }

        /// Sends a request; returns its number.
        fn send(&mut self, client: u32, request: &Request<'_>) -> u32 {
            let number = self.numbers.entry(client).or_default();
            *number += 1;
            let bytes = [&request.head()[..], &request.parts().concat()].concat();
            self.writer.take(client, *number, &bytes, self.now).unwrap();
            *number
        }

        fn ask(&mut self, client: u32, request: &Request<'_>) -> u32 {
            self.send(client, &Request { is_awaited: true, ..*request })
        }

        fn has(&self, name: &str) -> bool {
            self.writer.store.get(Key { bytes: name.as_bytes(), is_wide: false }, self.now).is_some()
        }

        fn replies(&mut self) -> Vec<(u32, u32, Status, f64)> {
            let of = |reply: Reply| (reply.client, reply.request, reply.answer.status, reply.answer.number);
            self.writer.replies().into_iter().map(of).collect()
        }
    }

    #[test]
    fn only_awaited_requests_and_failures_are_answered() {
        let mut world = World::new(2);
        world.send(0, &request(Operation::Set, "a"));
        world.send(0, &request(Operation::Delete, "b"));
        assert_eq!(world.replies(), []);
        let deleted = world.ask(0, &request(Operation::Delete, "a"));
        assert_eq!(world.replies(), [(0, deleted, Status::Done, 0.0)]);
        let large = vec![0; 1 << 20];
        let refused = world.send(0, &Request { value: &large, ..request(Operation::Set, "a") });
        assert_eq!(world.replies(), [(0, refused, Status::ValueTooLarge, 0.0)]);
        assert_eq!(world.writer.memory().applied(0), refused);
        assert_eq!(world.writer.memory().applied(1), 0);
    }

    #[test]
    fn one_client_computes_a_value_and_the_others_are_told() {
        let mut world = World::new(3);
        let first = world.ask(0, &request(Operation::Claim, "a"));
        assert_eq!(world.replies(), [(0, first, Status::Owned, 0.0)]);
        let (second, third) =
            (world.ask(1, &request(Operation::Claim, "a")), world.ask(2, &request(Operation::Claim, "a")));
        assert_eq!(world.replies(), []);
        world.send(0, &Request { lands: true, ..request(Operation::Set, "a") });
        assert_eq!(world.replies(), [(1, second, Status::Landed, 0.0), (2, third, Status::Landed, 0.0)]);
        let later = world.ask(1, &request(Operation::Claim, "a"));
        assert_eq!(world.replies(), [(1, later, Status::Landed, 0.0)]);
    }

    #[test]
    fn the_death_of_an_owner_passes_the_flight_on() {
        let mut world = World::new(3);
        world.ask(0, &request(Operation::Claim, "a"));
        let second = world.ask(1, &request(Operation::Claim, "a"));
        world.replies();
        world.writer.leave(0, world.now);
        assert_eq!(world.replies(), [(1, second, Status::Owned, 0.0)]);
        let third = world.ask(2, &request(Operation::Claim, "a"));
        world.send(1, &request(Operation::Release, "a"));
        assert_eq!(world.replies(), [(2, third, Status::Owned, 0.0)]);
    }

    #[test]
    fn requests_after_a_pattern_wait_for_it_and_others_do_not() {
        let mut world = World::new(2);
        for index in 0..10_000 {
            world.send(0, &request(Operation::Set, &format!("k{index}")));
        }
        let all = world.ask(0, &request(Operation::Invalidate, "k*"));
        let after = world.ask(0, &request(Operation::Set, "k1"));
        assert_eq!(world.replies(), [], "4096 entries were looked at");
        let other = world.ask(1, &request(Operation::Sync, ""));
        assert_eq!(world.replies(), [(1, other, Status::Done, 0.0)]);
        assert_eq!(world.writer.work(world.now), Some(world.now), "it goes on at once");
        assert_eq!(world.replies(), []);
        assert_eq!(world.writer.work(world.now), None);
        assert_eq!(world.replies(), [(0, all, Status::Done, 10_000.0), (0, after, Status::Done, 0.0)]);
        assert_eq!((world.writer.entries(), world.writer.memory().applied(0)), (1, after));
    }

    #[test]
    fn a_pattern_is_worked_off_though_its_client_is_gone() {
        let mut world = World::new(1);
        (0..9000).for_each(|index| assert!(world.send(0, &request(Operation::Set, &index.to_string())) > 0));
        world.send(0, &request(Operation::Invalidate, "*"));
        world.writer.leave(0, world.now);
        assert_eq!(world.writer.entries(), 0);
    }

    #[test]
    fn what_a_client_sent_after_a_pattern_is_done_though_it_is_gone() {
        let mut world = World::new(2);
        (0..9000).for_each(|index| assert!(world.send(0, &request(Operation::Set, &index.to_string())) > 0));
        for (operation, key) in [
            (Operation::Invalidate, "*"),
            (Operation::Set, "first"),
            (Operation::Invalidate, "fir*"),
            (Operation::Set, "last"),
            (Operation::Claim, "flight"),
            (Operation::Follow, ""),
        ] {
            world.send(0, &request(operation, key));
        }
        world.writer.leave(0, world.now);
        let left: Vec<bool> = ["first", "last"].map(|name| world.has(name)).into();
        assert_eq!((left, world.writer.entries()), (vec![false, true], 1));
        world.replies();
        let claim = world.ask(1, &request(Operation::Claim, "flight"));
        assert_eq!(world.replies(), [(1, claim, Status::Owned, 0.0)], "the dead own no flight");
        assert!(world.writer.followers.is_empty());
    }

    #[test]
    fn numbers_are_counted_and_compared() {
        let mut world = World::new(1);
        let one = world.ask(0, &request(Operation::Increment, "n"));
        let two = world.ask(0, &Request { added: 4, ..request(Operation::Increment, "n") });
        assert_eq!(world.replies(), [(0, one, Status::Done, 1.0), (0, two, Status::Done, 5.0)]);
        let expected = Some((Kind::Json, b"5".as_slice()));
        let same = world.ask(0, &Request { expected, ..request(Operation::CompareAndSet, "n") });
        let other = world.ask(0, &Request { expected, ..request(Operation::CompareAndSet, "n") });
        let text = world.ask(0, &request(Operation::Increment, "n"));
        let answers = [(same, Status::Done), (other, Status::No), (text, Status::NotANumber)];
        assert_eq!(world.replies(), answers.map(|(number, status)| (0, number, status, 0.0)));
    }

    #[test]
    fn values_end_in_their_time() {
        let mut world = World::new(1);
        world.send(0, &Request { expires: 1500, ..request(Operation::Set, "a") });
        assert_eq!(world.writer.work(1000), Some(1500));
        assert_eq!((world.writer.work(1500), world.writer.entries()), (None, 0));
    }

    #[test]
    fn bytes_that_are_no_request_are_refused() {
        let mut world = World::new(1);
        assert_eq!(world.writer.take(0, 1, b"nonsense", 0), Err(Malformed));
    }
}
