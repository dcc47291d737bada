//! Which client computes the value of a key, and who waits for it. PURE. At most one client at a time owns a key's
//! flight; when it fails or dies, the client that has waited longest owns it.

use std::collections::{HashMap, VecDeque};

/// A request of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub client: u32,
    pub request: u32,
}

struct Flight {
    owner: u32,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// The client computes the value.
    Owned,
    /// Another client does; the request is answered later.
    Waits,
}

#[derive(Default)]
pub struct Flights {
    flights: HashMap<Box<[u8]>, Flight>,
}

impl Flights {
    pub fn claim(&mut self, key: &[u8], by: Waiting) -> Claim {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.waiting.push_back(by);
            return Claim::Waits;
        }
        self.flights.insert(key.into(), Flight { owner: by.client, waiting: VecDeque::new() });
        Claim::Owned
    }

    /// The value is there: returns who waits for it. A client that lost the flight lands it too: its value is as good.
    pub fn land(&mut self, key: &[u8]) -> impl Iterator<Item = Waiting> {
        self.flights.remove(key).map(|flight| flight.waiting).into_iter().flatten()
    }

    /// The client does not compute the value any more: returns who does it now.
    pub fn release(&mut self, key: &[u8], client: u32) -> Option<Waiting> {
        let flight = self.flights.get_mut(key).filter(|flight| flight.owner == client)?;
        let next = flight.waiting.pop_front();
        match next {
            Some(next) => flight.owner = next.client,
            None => drop(self.flights.remove(key)),
        }
        next
    }

    /// The client is gone: returns who owns its flights now.
    pub fn gone(&mut self, client: u32) -> Vec<Waiting> {
        let mut next = Vec::new();
        self.flights.retain(|_, flight| {
            flight.waiting.retain(|waiting| waiting.client != client);
            if flight.owner != client {
                return true;
            }
            let first = flight.waiting.pop_front();
            next.extend(first);
            flight.owner = first.map_or(client, |first| first.client);
            first.is_some()
        });
        next
    }

    pub fn count(&self) -> usize {
        self.flights.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(client: u32, request: u32) -> Waiting {
        Waiting { client, request }
    }

    #[test]
    fn one_client_computes_and_all_others_get_its_value() {
        let mut flights = Flights::default();
        assert_eq!(flights.claim(b"key", of(1, 1)), Claim::Owned);
        assert_eq!(flights.claim(b"key", of(2, 7)), Claim::Waits);
        assert_eq!(flights.claim(b"key", of(3, 9)), Claim::Waits);
        assert_eq!(flights.claim(b"other", of(3, 10)), Claim::Owned);
        assert_eq!(flights.land(b"key").collect::<Vec<_>>(), [of(2, 7), of(3, 9)]);
        assert_eq!(flights.claim(b"key", of(2, 8)), Claim::Owned);
    }

    #[test]
    fn the_death_of_the_owner_passes_its_flights_on() {
        let mut flights = Flights::default();
        flights.claim(b"a", of(1, 1));
        flights.claim(b"a", of(2, 1));
        flights.claim(b"a", of(3, 1));
        flights.claim(b"b", of(1, 2));
        flights.claim(b"c", of(2, 2));
        flights.claim(b"c", of(1, 3));
        assert_eq!(flights.gone(1), [of(2, 1)]);
        assert_eq!(flights.count(), 2, "nobody waited for b");
        assert_eq!(flights.land(b"c").count(), 0, "the dead do not wait");
        assert_eq!(flights.gone(2), [of(3, 1)]);
    }

    #[test]
    fn only_the_owner_releases() {
        let mut flights = Flights::default();
        flights.claim(b"a", of(1, 1));
        flights.claim(b"a", of(2, 1));
        assert_eq!(flights.release(b"a", 2), None);
        assert_eq!(flights.release(b"a", 1), Some(of(2, 1)));
        assert_eq!(flights.release(b"a", 2), None);
        assert_eq!(flights.count(), 0);
    }
}
