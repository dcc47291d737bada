//! The keys of the cluster's TLS session tickets, which every worker maps, so that a worker resumes sessions of other
//! workers. They are in no environment, argument or message: a worker gets the memory's descriptor with its hello.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::ipc::ticket_keys::{CELLS, EPOCH, FIRST_EPOCH, KEY_BYTES, end_of, epoch_at, key_of, missing};
use crate::sys::memory::{self, Mapping};

/// Delay after a failed change.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

pub struct Tickets {
    memory: Mapping,
    memfd: OwnedFd,
    epoch: u32,
    /// When the first keys were generated, on the loop's clock.
    since: Duration,
    /// After a failed change: the earliest time of the next attempt.
    not_before: Duration,
}

impl Tickets {
    /// # Errors
    /// The kernel provides no memory, cannot exclude it from core files, or provides no random bytes.
    pub fn new(now: Duration) -> io::Result<Self> {
        let memfd = memory::create("drover-tickets", CELLS)?;
        let memory = Mapping::hidden(memfd.as_fd(), CELLS, true)?;
        memory::seal_writes(&memfd)?;
        let mut tickets = Self { memory, memfd, epoch: FIRST_EPOCH, since: now, not_before: now };
        for epoch in FIRST_EPOCH - 1..=FIRST_EPOCH + 1 {
            tickets.make(epoch)?;
        }
        tickets.publish(FIRST_EPOCH);
        Ok(tickets)
    }

    /// A descriptor of the memory, for a worker.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.memfd.try_clone()
    }

    /// When the keys are to change.
    pub fn due(&self) -> Duration {
        self.since.saturating_add(end_of(self.epoch)).max(self.not_before)
    }

    pub fn put_off(&mut self, now: Duration) {
        self.not_before = now + RETRY_INTERVAL;
    }

    /// Changes the keys if that is due.
    ///
    /// # Errors
    /// No random bytes: the keys are unchanged.
    pub fn rotate(&mut self, now: Duration) -> io::Result<()> {
        let epoch = epoch_at(now.saturating_sub(self.since));
        for made in missing(self.epoch, epoch) {
            self.make(made)?;
        }
        self.publish(epoch);
        Ok(())
    }

    fn publish(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.memory.cells()[EPOCH].store(u64::from(epoch), Ordering::Release);
    }

    fn make(&mut self, epoch: u32) -> io::Result<()> {
        let mut bytes = Zeroizing::new([0u8; KEY_BYTES]);
        let filled = SystemRandom::new().fill(bytes.as_mut_slice());
        filled.map_err(|_| io::Error::other("the kernel gave no random bytes"))?;
        for (cell, eight) in self.memory.cells()[key_of(epoch)].iter().zip(bytes.chunks_exact(8)) {
            let eight = eight.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            cell.store(eight, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Drop for Tickets {
    /// Wipes the keys when every worker has ended.
    fn drop(&mut self) {
        self.memory.cells().iter().for_each(|cell| cell.store(0, Ordering::SeqCst));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::ticket_keys::PERIOD;

    const START: Duration = Duration::from_secs(5);

    /// A worker's view: the epoch, and the keys of it and its neighbours.
    fn seen(worker: &Mapping) -> (u32, [Vec<u64>; 3]) {
        let load = |cell: usize| worker.load(cell, Ordering::Acquire);
        let epoch = load(EPOCH) as u32;
        (epoch, [epoch - 1, epoch, epoch + 1].map(|epoch| key_of(epoch).map(load).collect()))
    }

    #[test]
    fn a_worker_sees_the_keys_change_and_keeps_the_one_before() {
        let mut tickets = Tickets::new(START).unwrap();
        let worker = Mapping::hidden(tickets.share().unwrap().as_fd(), CELLS, false).unwrap();
        let (epoch, [_, current, next]) = seen(&worker);
        assert_eq!(epoch, 1);
        assert!(current != next && current.iter().all(|cell| *cell != 0));
        assert_eq!(tickets.due(), START + PERIOD);
        tickets.rotate(tickets.due() - Duration::from_millis(1)).unwrap();
        assert_eq!(seen(&worker).0, 1, "not before its time");
        tickets.rotate(tickets.due()).unwrap();
        let (epoch, [before, now, after]) = seen(&worker);
        assert_eq!((epoch, &before, &now), (2, &current, &next));
        assert!(after != before && after != now);
        assert_eq!(tickets.due(), START + PERIOD * 2);
        tickets.rotate(START + PERIOD * 9).unwrap();
        let (epoch, keys) = seen(&worker);
        assert_eq!(epoch, 10, "after a long sleep");
        assert!(!keys.contains(&now), "a key of long ago opens nothing");
    }

    #[test]
    fn who_gets_the_descriptor_cannot_write_and_the_end_wipes_it() {
        let tickets = Tickets::new(START).unwrap();
        let share = tickets.share().unwrap();
        assert!(Mapping::hidden(share.as_fd(), CELLS, true).is_err());
        assert!(rustix::io::write(&share, b"x").is_err());
        let worker = Mapping::hidden(share.as_fd(), CELLS, false).unwrap();
        drop(tickets);
        assert!((0..CELLS).all(|cell| worker.load(cell, Ordering::Acquire) == 0));
    }
}
