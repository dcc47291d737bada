//! Connections that workers hand off: however many arrive at once, and whatever else arrives, another worker gets them.

use std::os::fd::AsFd;

use drover::balance::Strategy;
use drover::ipc::fd_message::{self, FdHeader, IdleKeepAlive};

use crate::harness::*;

const KEEP_ALIVE: Option<IdleKeepAlive> = Some(IdleKeepAlive { remaining_ms: 60_000, served: 7 });

#[test]
fn many_more_than_the_queue_holds_all_find_their_way() {
    const MANY: usize = 200;
    let settings = Settings { max_queue: 16, ..exact(Strategy::RoundRobin) };
    let (cluster, site, _) = Cluster::serving(settings, 0);
    let donor = cluster.manual(0);
    cluster.serve_manual(donor.id, &site);
    let (mut clients, mut fds) = (Vec::new(), Vec::new());
    for _ in 0..MANY {
        clients.push(Client::to(site.to()));
        donor.await_message();
        fds.extend(donor.take().unwrap().fds);
    }
    assert_eq!(fds.len(), MANY);
    let taker = cluster.worker(1, &site);
    cluster.close_manual(donor.id, &site);
    for nonsense in [&b"x"[..], &[0xff; 3000], &[0; 8]] {
        rustix::net::send(&donor.channel, nonsense, rustix::net::SendFlags::empty()).unwrap();
    }
    for fd in fds {
        let header = FdHeader { keep_alive: KEEP_ALIVE, ..FdHeader::of(site.group) };
        fd_message::send(donor.channel.as_fd(), header, &[fd.as_fd()]).unwrap();
    }
    for mut client in clients {
        assert_eq!(client.who(), 1);
    }
    assert_eq!(taker.pushed(), MANY as u64);
    assert_eq!(cluster.refused(), 0);
}
