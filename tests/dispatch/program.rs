//! The size of the steering program (rule 11): with more workers than it can choose from, the group uses push mode and
//! logs it once.

use std::net::IpAddr;

use drover::balance::{Candidate, Chooser, Strategy, client_key};
use drover::dispatch::Report;
use drover::event::Level;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::harness::*;

/// More workers than a program of 1,500 instructions can choose from by address.
const MANY: u16 = 150;

/// The worker that has been sent a connection.
fn receiver(manuals: &[ManualWorker]) -> &ManualWorker {
    let mut polled: Vec<_> =
        manuals.iter().map(|manual| PollFd::new(&manual.channel, PollFlags::IN)).collect();
    let limit = Timespec { tv_sec: TIMEOUT.as_secs() as i64, tv_nsec: 0 };
    assert_eq!(poll(&mut polled, Some(&limit)).unwrap(), 1, "one connection, one worker");
    let at = polled.iter().position(|polled| polled.revents().contains(PollFlags::IN)).unwrap();
    &manuals[at]
}

#[test]
fn more_workers_than_a_program_can_name_are_served_by_push_which_is_said_once() {
    let settings = Settings { strategy: Strategy::IpHash, slots: MANY, health_aware: false, ..direct() };
    let cluster = Cluster::start(settings);
    let site = cluster.open(&tcp("127.0.0.1"));
    let manuals: Vec<ManualWorker> = (0..MANY).map(|slot| cluster.manual(slot)).collect();
    manuals.iter().for_each(|manual| cluster.serve_manual(manual.id, &site));
    let is_told = |report: &Report| is_said(report, Level::Warn, "connections go through the primary");
    cluster.report("push mode", is_told);
    let candidate = |slot| Candidate { slot, connections: 0, weight: 1, latency_us: 0.0, in_flight: 0 };
    let candidates: Vec<Candidate> = (0..MANY).map(candidate).collect();
    for n in 1..=20 {
        let ip = IpAddr::from([127, 0, 0, n]);
        let _client = Client::from(ip, site.to());
        let chosen = Chooser::new(Strategy::IpHash).choose(&candidates, Some(client_key(ip)), 0).unwrap();
        let manual = receiver(&manuals);
        assert_eq!(manual.id.slot, candidates[chosen].slot);
        assert_eq!(manual.take().unwrap().fds.len(), 1);
    }
    assert_eq!(cluster.reports(is_told), 1);
}
