//! `server.close()` (rule 3): connections are not lost when one worker closes; the port closes when all have closed.

use std::io::ErrorKind;

use crate::harness::*;
use drover::model::WorkerId;

#[test]
fn a_server_closed_in_one_worker_leaves_everything_to_the_others() {
    for settings in [settings(), direct()] {
        let (cluster, site, workers) = Cluster::serving(settings, 3);
        cluster.close(&workers[1], &site);
        let before = workers[1].taken();
        for _ in 0..60 {
            assert_ne!(Client::to(site.to()).who(), 1);
        }
        assert_eq!(workers[1].taken(), before);
    }
}

#[test]
fn what_lay_unread_in_the_channel_comes_round_when_the_server_closes() {
    let (cluster, site, _) = Cluster::serving(exact(drover::balance::Strategy::RoundRobin), 0);
    let manual = cluster.manual(0);
    cluster.serve_manual(manual.id, &site);
    let _other = cluster.worker(1, &site);
    let clients: Vec<Client> = (0..10).map(|_| Client::to(site.to())).collect();
    manual.await_message();
    cluster.close_manual(manual.id, &site);
    for mut client in clients {
        assert_eq!(client.who(), 1);
    }
    assert!(manual.take().is_none(), "nothing is left for the closed server");
}

#[test]
fn a_server_closed_in_all_workers_closes_the_port() {
    let (cluster, site, workers) = Cluster::serving(settings(), 2);
    cluster.close(&workers[0], &site);
    assert_eq!(Client::to(site.to()).who(), 1);
    cluster.close(&workers[1], &site);
    assert_eq!(Client::try_to(site.to()).err().map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
}

#[test]
fn what_an_address_brought_until_its_end_is_the_last_workers() {
    for settings in [settings(), direct()] {
        let (cluster, site, _) = Cluster::serving(settings, 0);
        let (manual, other) = (cluster.manual(0), cluster.worker(1, &site));
        let _listener = cluster.share(0, &site);
        cluster.serve_manual(manual.id, &site);
        cluster.close(&other, &site);
        let clients: Vec<Client> = (0..10).map(|_| Client::to(site.to())).collect();
        // With connections in its channel and in the kernel's queues.
        cluster.close_manual(manual.id, &site);
        assert_eq!(
            std::iter::from_fn(|| manual.take()).map(|fd_message| fd_message.fds.len()).sum::<usize>(),
            10
        );
        assert_eq!(cluster.refused(), 0);
        drop(clients);
    }
}

#[test]
fn what_a_worker_had_not_read_when_it_died_in_a_stop_is_answered() {
    let (cluster, site, _) = Cluster::serving(settings(), 0);
    let manual = cluster.manual(0);
    cluster.serve_manual(manual.id, &site);
    let mut client = Client::to(site.to());
    client.say(b"GET / HTTP/1.1\r\n\r\n");
    manual.await_message();
    cluster.retire();
    cluster.dead(manual.id);
    cluster.stop();
    assert!(client.hear_all().unwrap().starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
}

#[test]
fn a_server_may_listen_again_after_it_closed_in_its_worker() {
    let (cluster, site, workers) = Cluster::serving(exact(drover::balance::Strategy::RoundRobin), 2);
    cluster.close(&workers[0], &site);
    assert_eq!(Client::to(site.to()).who(), 1);
    cluster.serve(&workers[0], &site);
    let mut who: Vec<u16> = (0..4).map(|_| Client::to(site.to()).who()).collect();
    who.sort_unstable();
    assert_eq!(who, [0, 0, 1, 1]);
}

#[test]
fn a_port_that_was_closed_by_all_may_be_opened_again() {
    let (cluster, site, workers) = Cluster::serving(settings(), 2);
    workers.iter().for_each(|worker| cluster.close(worker, &site));
    let again = cluster.open(&tcp_port("127.0.0.1", site.port));
    assert_ne!(again.group, site.group);
    cluster.serve(&workers[1], &again);
    assert_eq!(Client::to(again.to()).who(), 1);
}

#[test]
fn a_closed_server_in_one_worker_and_a_death_in_the_other_leave_the_port_open_for_the_replacement() {
    let (cluster, site, mut workers) = Cluster::serving(settings(), 2);
    cluster.close(&workers[0], &site);
    cluster.kill(workers.remove(1));
    let mut client = Client::to(site.to());
    let _replacement = cluster.worker(1, &site);
    assert_eq!(client.who_exactly(), WorkerId::new(1, 2));
}

#[test]
fn an_address_of_which_a_worker_has_just_got_a_share_stays_open_though_all_others_close() {
    let (cluster, site, workers) = Cluster::serving(exact(drover::balance::Strategy::RoundRobin), 2);
    cluster.close(&workers[0], &site);
    // It listens again; before it serves, the other worker closes too.
    let share = cluster.share(0, &site);
    cluster.close(&workers[1], &site);
    workers[0].open_share(site.group, share);
    cluster.serve_manual(workers[0].id, &site);
    assert_eq!(Client::to(site.to()).who(), 0);
    cluster.close(&workers[0], &site);
    let refused = Client::try_to(site.to()).err().map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::ConnectionRefused), "closed with the last worker");
}
