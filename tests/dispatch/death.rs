//! The death of a worker (rule 7): other workers serve all connections that it had not taken.

use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use drover::balance::Strategy;
use drover::dispatch::DispatchMode;

use crate::harness::*;
use drover::model::WorkerId;

const STREAM: usize = 400;
/// Connections that are open at the same time.
const ABREAST: usize = 16;

/// Opens connections continuously; each must receive its greeting line. The receiver gets the number served so far.
fn stream(site: &Site) -> (JoinHandle<usize>, Receiver<usize>) {
    let (to, (told, progress)) = (site.to(), channel());
    let thread = std::thread::spawn(move || {
        let mut greeted = 0;
        while greeted < STREAM {
            let clients: Vec<Client> = (0..ABREAST).map(|_| Client::to(to)).collect();
            for mut client in clients {
                client.greeting().expect("no connection is lost");
                greeted += 1;
            }
            let _ = told.send(greeted);
        }
        greeted
    });
    (thread, progress)
}

fn modes() -> [Settings; 2] {
    [Settings { mode: DispatchMode::Push, ..settings() }, direct()]
}

#[test]
fn what_a_dead_worker_had_not_read_is_served_by_others() {
    let (cluster, site, _) = Cluster::serving(exact(Strategy::RoundRobin), 0);
    let manual = cluster.manual(0);
    cluster.serve_manual(manual.id, &site);
    let _other = cluster.worker(1, &site);
    let clients: Vec<Client> = (0..40).map(|_| Client::to(site.to())).collect();
    manual.await_message();
    drop(manual);
    cluster.dead(WorkerId::new(0, 1));
    for mut client in clients {
        assert_eq!(client.who(), 1);
    }
}

#[test]
fn no_connection_of_a_stream_is_lost_when_a_worker_is_killed() {
    for settings in modes() {
        let (cluster, site, mut workers) = Cluster::serving(settings, 4);
        let (thread, progress) = stream(&site);
        progress.iter().find(|greeted| *greeted > STREAM / 4).unwrap();
        cluster.kill(workers.remove(2));
        progress.iter().find(|greeted| *greeted > STREAM / 2).unwrap();
        let _replacement = cluster.worker(2, &site);
        assert_eq!(thread.join().unwrap(), STREAM);
        assert_eq!(cluster.refused(), 0);
    }
}

#[test]
fn no_connection_of_a_stream_is_lost_when_a_blocked_worker_is_killed() {
    for settings in modes() {
        let (cluster, site, mut workers) = Cluster::serving(settings, 4);
        let (thread, progress) = stream(&site);
        progress.iter().find(|greeted| *greeted > STREAM / 4).unwrap();
        workers[1].block();
        progress.recv().unwrap();
        cluster.kill(workers.remove(1));
        assert_eq!(thread.join().unwrap(), STREAM);
        assert_eq!(cluster.refused(), 0);
    }
}

#[test]
fn while_every_worker_is_dead_connections_wait_for_the_replacement() {
    for settings in modes() {
        let (cluster, site, workers) = Cluster::serving(settings, 2);
        workers.into_iter().for_each(|worker| cluster.kill(worker));
        let mut clients: Vec<Client> = (0..30).map(|_| Client::to(site.to())).collect();
        assert!(clients[0].is_silent_for(Duration::from_millis(50)));
        let _replacement = cluster.worker(1, &site);
        clients.iter_mut().for_each(|client| assert_eq!(client.who_exactly(), WorkerId::new(1, 2)));
    }
}

#[test]
fn a_replacement_inherits_the_listener_of_its_slot() {
    let (cluster, site, workers) = Cluster::serving(direct(), 1);
    workers.into_iter().for_each(|worker| cluster.kill(worker));
    let worker = cluster.worker(0, &site);
    for _ in 0..20 {
        assert_eq!(Client::to(site.to()).who_exactly(), WorkerId::new(0, 2));
    }
    assert!(worker.accepted() > 0, "it accepts in direct mode again");
}

#[test]
fn news_of_an_earlier_worker_of_the_slot_do_not_touch_the_present_one() {
    let (cluster, site, workers) = Cluster::serving(exact(Strategy::RoundRobin), 1);
    workers.into_iter().for_each(|worker| cluster.kill(worker));
    let _worker = cluster.worker(0, &site);
    cluster.dead(WorkerId::new(0, 1));
    cluster.close_manual(WorkerId::new(0, 1), &site);
    assert_eq!(Client::to(site.to()).who_exactly(), WorkerId::new(0, 2));
}

#[test]
fn a_worker_that_joins_before_its_predecessors_death_is_told_inherits_what_was_unread() {
    let (cluster, site, _) = Cluster::serving(exact(Strategy::RoundRobin), 0);
    let manual = cluster.manual(0);
    cluster.serve_manual(manual.id, &site);
    let clients: Vec<Client> = (0..10).map(|_| Client::to(site.to())).collect();
    manual.await_message();
    drop(manual);
    let _worker = cluster.worker(0, &site);
    cluster.dead(WorkerId::new(0, 1));
    for mut client in clients {
        assert_eq!(client.who_exactly(), WorkerId::new(0, 2));
    }
}
