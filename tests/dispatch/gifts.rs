//! Connections that workers give away: however many come at once, and whatever else comes, they find another worker.

use std::os::fd::AsFd;

use drover::balance::Strategy;
use drover::ipc::parcel::{self, Kept, Label};

use crate::harness::*;

const KEPT: Option<Kept> = Some(Kept { quiet_ms: 60_000, served: 7 });

#[test]
fn many_more_than_the_queue_holds_all_find_their_way() {
    const MANY: usize = 200;
    let settings = Settings { max_queue: 16, ..exact(Strategy::RoundRobin) };
    let (cluster, site, _) = Cluster::serving(settings, 0);
    let giver = cluster.seat(0);
    cluster.serve_seat(giver.id, &site);
    let (mut clients, mut fds) = (Vec::new(), Vec::new());
    for _ in 0..MANY {
        clients.push(Client::to(site.to()));
        giver.await_message();
        fds.extend(giver.take().unwrap().fds);
    }
    assert_eq!(fds.len(), MANY);
    let taker = cluster.worker(1, &site);
    cluster.close_seat(giver.id, &site);
    for nonsense in [&b"x"[..], &[0xff; 3000], &[0; 8]] {
        rustix::net::send(&giver.channel, nonsense, rustix::net::SendFlags::empty()).unwrap();
    }
    for fd in fds {
        let label = Label { kept: KEPT, ..Label::of(site.group) };
        parcel::send(giver.channel.as_fd(), label, &[fd.as_fd()]).unwrap();
    }
    for mut client in clients {
        assert_eq!(client.who(), 1);
    }
    assert_eq!(taker.pushed(), MANY as u64);
    assert_eq!(cluster.refused(), 0);
}
