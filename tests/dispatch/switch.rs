//! Switches between push and direct mode under load, and polling where the kernel cannot wake the thread.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use drover::dispatch::DispatchMode;
use drover::ipc::control::Address;

use crate::harness::*;

/// Connections that the load opens before it reads their greetings.
const ABREAST: usize = 24;

/// Continuous load until `end`; each connection must receive its greeting.
struct Load {
    ended: Arc<AtomicBool>,
    greeted: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Load {
    fn start(connect: impl Fn() -> Client + Send + 'static) -> Self {
        let (ended, greeted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, count) = (ended.clone(), greeted.clone());
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let clients: Vec<Client> = (0..ABREAST).map(|_| connect()).collect();
                for mut client in clients {
                    client.greeting().expect("no connection is lost");
                    client.reset();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { ended, greeted, thread }
    }

    fn on(to: SocketAddr) -> Self {
        Self::start(move || Client::to(to))
    }

    fn on_unix(path: &Path) -> Self {
        let path = path.to_owned();
        Self::start(move || Client::unix(&path))
    }

    /// Connections per second, measured over a time in which a switch can take place.
    fn rate(&self) -> f64 {
        let (before, since) = (self.greeted.load(Ordering::Relaxed), Instant::now());
        std::thread::park_timeout(Duration::from_millis(300));
        (self.greeted.load(Ordering::Relaxed) - before) as f64 / since.elapsed().as_secs_f64()
    }

    /// Ends the load; returns the number of its connections.
    fn end(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.greeted.load(Ordering::Relaxed)
    }
}

fn sum(workers: &[Worker], what: fn(&Worker) -> u64) -> u64 {
    workers.iter().map(what).sum()
}

#[test]
fn a_busy_listener_goes_direct_and_comes_back_twenty_times_without_losing_a_connection() {
    let (cluster, site, workers) = Cluster::serving(settings(), 2);
    let mut greeted = 0;
    for _ in 0..10 {
        let accepted = sum(&workers, Worker::accepted);
        let load = Load::on(site.to());
        eventually("direct mode", || (sum(&workers, Worker::accepted) > accepted + 100).then_some(()));
        greeted += load.end();
        let pushed = sum(&workers, Worker::pushed);
        eventually("push mode", || {
            Client::to(site.to()).who();
            greeted += 1;
            (sum(&workers, Worker::pushed) > pushed).then_some(())
        });
    }
    assert_eq!(sum(&workers, Worker::taken), greeted);
    assert_eq!(cluster.refused(), 0);
}

#[test]
fn a_burst_is_placed_exactly() {
    let settings = Settings { health_aware: false, ..settings() };
    let (_cluster, site, workers) = Cluster::serving(settings, 4);
    let mut clients: Vec<Client> = (0..200).map(|_| Client::to(site.to())).collect();
    let slots: Vec<u16> = clients.iter_mut().map(Client::who).collect();
    assert!(slots.iter().enumerate().all(|(at, slot)| at % 4 == usize::from(*slot)), "{slots:?}");
    assert_eq!(workers.iter().map(Worker::pushed).collect::<Vec<_>>(), [50; 4]);
}

#[test]
fn dispatch_push_never_goes_direct_however_busy() {
    let settings = Settings { mode: DispatchMode::Push, ..settings() };
    let (_cluster, site, workers) = Cluster::serving(settings, 2);
    let load = Load::on(site.to());
    eventually("a rate at which other groups switch to direct mode", || (load.rate() > 4000.0).then_some(()));
    let greeted = load.end();
    assert_eq!((sum(&workers, Worker::pushed), sum(&workers, Worker::accepted)), (greeted, 0));
}

/// Whether the accept thread polls, thousands of times a second, instead of being woken.
fn is_polling(cluster: &Cluster) -> bool {
    let before = cluster.sleeps();
    std::thread::park_timeout(Duration::from_millis(20));
    // About 130 wake-ups if it polls, two if it only checks its workers.
    cluster.sleeps() - before > 40
}

#[test]
fn a_listener_without_the_kernels_help_is_polled_only_while_it_is_busy() {
    let path = std::env::temp_dir().join(format!("drover-polled-{}", std::process::id()));
    let cluster = Cluster::start(settings());
    // The first report tells the id of the thread.
    cluster.open(&tcp("127.0.0.1"));
    let site = cluster.open(&Address::Unix { path: path.to_str().unwrap().to_owned() });
    let workers = [0, 1].map(|slot| cluster.worker(slot, &site));
    for _ in 0..50 {
        Client::unix(&path).who();
    }
    let slept = cluster.sleeps();
    eventually("it sleeps at low rates", || {
        std::thread::park_timeout(Duration::from_millis(50));
        (cluster.sleeps() - slept < 100).then_some(())
    });
    // The thread sleeps between two polls: counted without load, so that no connection wakes it.
    eventually("it polls while it is busy", || {
        let load = Load::on_unix(&path);
        std::thread::park_timeout(Duration::from_millis(150));
        load.end();
        is_polling(&cluster).then_some(())
    });
    eventually("it stops polling when there is no load", || {
        let slept = cluster.sleeps();
        std::thread::park_timeout(Duration::from_millis(100));
        (cluster.sleeps() == slept).then_some(())
    });
    assert_eq!(sum(&workers, Worker::accepted), 0);
    assert_eq!(Client::unix(&path).who(), 0);
}
