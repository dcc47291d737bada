//! A cluster in this process: the real accept thread, sockets on loopback, and workers that are threads (`worker`) or a
//! channel end that the test steps by hand (`ManualWorker`). The first line that a client (`client`) reads names its
//! worker. Tests do not sleep: they wait for events, with a deadline.

mod apart;
mod client;
mod netlink;
mod worker;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use drover::balance::Strategy;
pub use drover::dispatch::Settings;
use drover::dispatch::{
    Admission, Affinity, DispatchMode, Dispatcher, Fallback, ListenFailure, Listening, Report,
};
use drover::event::{Event, Level, Subject};
use drover::ipc::control::{Address, Datagram, GroupId, SocketId};
use drover::metrics::layout::header;
use drover::metrics::memory::SharedMemory;
use drover::model::WorkerId;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

pub use apart::{Apart, forbid_ipv6, in_a_network_of_its_own, in_a_process_of_its_own};
pub use client::Client;
pub use netlink::raise_loopback;
pub use worker::{ManualWorker, Worker};

/// Far longer than any step takes; a test that waits this long has failed.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Waits, by polling, for a change of memory that wakes no thread.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + TIMEOUT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "not in {TIMEOUT:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Four slots, with the defaults for all dispatch options.
pub fn settings() -> Settings {
    Settings {
        strategy: Strategy::RoundRobin,
        mode: DispatchMode::Auto,
        weights: Vec::new(),
        health_aware: true,
        connection_tracking: true,
        affinity: Affinity::None,
        trusted_proxies: Vec::new(),
        rebalance: false,
        max_connections_per_worker: None,
        max_queue: 1024,
        queue_timeout: Duration::from_secs(5),
        inspected: false,
        slots: 4,
        admission: None,
        fallback: Fallback {
            status: 503,
            body: "Service Unavailable\n".into(),
            content_type: "text/plain; charset=utf-8".into(),
            retry_after: 5,
        },
    }
}

/// Exact placement on a busy machine too: workers are not checked for being unresponsive.
pub fn exact(strategy: Strategy) -> Settings {
    Settings { strategy, mode: DispatchMode::Push, health_aware: false, ..settings() }
}

pub fn direct() -> Settings {
    Settings { mode: DispatchMode::Direct, ..settings() }
}

pub fn tcp(host: &str) -> Address {
    tcp_port(host, 0)
}

pub fn tcp_port(host: &str, port: u16) -> Address {
    Address::Tcp { host: Some(host.into()), port, ipv6_only: false, nth: 0 }
}

/// The request of a program's second server that listens on port 0.
pub fn second_tcp(host: &str) -> Address {
    Address::Tcp { host: Some(host.into()), port: 0, ipv6_only: false, nth: 1 }
}

pub fn udp(port: u16) -> Datagram {
    Datagram { host: "127.0.0.1".into(), port, ipv6: false, ipv6_only: false, reuse: false, nth: 0 }
}

/// An open address of the cluster.
#[derive(Clone, Debug)]
pub struct Site {
    pub address: Address,
    pub group: GroupId,
    pub port: u16,
    host: Option<IpAddr>,
}

impl Site {
    pub fn to(&self) -> SocketAddr {
        SocketAddr::new(self.host.expect("a TCP address"), self.port)
    }

    /// The same port at another host, for groups that listen on all addresses.
    pub fn at(&self, host: &str) -> SocketAddr {
        SocketAddr::new(host.parse().unwrap(), self.port)
    }
}

pub struct Cluster {
    // The first field: its thread must end before the fields that it uses are dropped.
    dispatcher: Dispatcher,
    pub memory: SharedMemory,
    reports: Receiver<Report>,
    seen: RefCell<Vec<Report>>,
    thread: Arc<AtomicU32>,
    thread_files: RefCell<BTreeMap<&'static str, File>>,
    generations: RefCell<BTreeMap<u16, u32>>,
    plain_http: Cell<bool>,
}

impl Cluster {
    pub fn start(settings: Settings) -> Self {
        let (memory, _) = SharedMemory::create(0).unwrap();
        let (told, reports) = channel();
        let thread = Arc::new(AtomicU32::new(0));
        let known = thread.clone();
        let report = move |report| {
            known.store(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs(), Ordering::Relaxed);
            // The test may have ended.
            let _ = told.send(report);
        };
        let dispatcher = Dispatcher::start(settings, memory.clone(), 0x5eed, report).unwrap();
        Self {
            dispatcher,
            memory,
            reports,
            seen: RefCell::default(),
            thread,
            thread_files: RefCell::default(),
            generations: RefCell::default(),
            plain_http: Cell::new(true),
        }
    }

    /// A cluster with `workers` workers, from slot 0, that serve one IPv4 address.
    pub fn serving(settings: Settings, workers: u16) -> (Self, Site, Vec<Worker>) {
        let cluster = Self::start(settings);
        let site = cluster.open(&tcp("127.0.0.1"));
        let workers = (0..workers).map(|slot| cluster.worker(slot, &site)).collect();
        (cluster, site, workers)
    }

    /// From now on, servers are not plain HTTP.
    pub fn not_http(&self) {
        self.plain_http.set(false);
    }

    pub fn try_open(&self, address: &Address) -> Result<Site, ListenFailure> {
        let Listening { group, host, port, .. } = self.listen(address, None)?;
        let host = host.map(|host| host.parse().unwrap());
        Ok(Site { address: address.clone(), group, port, host })
    }

    #[track_caller]
    pub fn open(&self, address: &Address) -> Site {
        self.try_open(address).unwrap()
    }

    pub fn listen(&self, address: &Address, slot: Option<u16>) -> Result<Listening, ListenFailure> {
        let generation = |slot| self.generations.borrow().get(&slot).copied().unwrap_or(0);
        let asker = slot.map(|slot| WorkerId::new(slot, generation(slot)));
        self.dispatcher.listen(address.clone(), 511, asker).blocking_recv().expect("the accept thread lives")
    }

    pub fn bind(
        &self,
        manual: &ManualWorker,
        datagram: &Datagram,
    ) -> Result<(SocketId, OwnedFd), ListenFailure> {
        let answer = self.dispatcher.bind(manual.id, datagram.clone());
        answer.blocking_recv().expect("the accept thread lives")
    }

    /// The worker closes a datagram socket; returns when the accept thread has confirmed.
    pub fn unbind(&self, manual: &ManualWorker, socket: SocketId) {
        let answer = self.dispatcher.unbind(manual.id, socket);
        answer.blocking_recv().expect("the accept thread lives");
    }

    /// A worker that the test steps by hand.
    pub fn manual(&self, slot: u16) -> ManualWorker {
        let manual = self.starting_manual(slot);
        if manual.id.generation > 1 {
            self.memory.retire(WorkerId::new(slot, manual.id.generation - 1));
        }
        self.promote(manual.id);
        manual
    }

    /// The worker takes over its slot.
    pub fn promote(&self, worker: WorkerId) {
        self.dispatcher.promote(worker);
        self.settle();
    }

    /// Reports that all workers have started.
    pub fn started(&self) {
        self.dispatcher.started();
        self.settle();
    }

    /// The slot's next worker reports ready.
    pub fn succeed(&self, next: &ManualWorker) {
        self.dispatcher.succeed(next.id);
        self.settle();
    }

    /// The slot's next worker, before it takes over the slot.
    pub fn starting_manual(&self, slot: u16) -> ManualWorker {
        let generation = *self.generations.borrow_mut().entry(slot).and_modify(|g| *g += 1).or_insert(1);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let id = WorkerId { slot, generation };
        let manual = ManualWorker::new(id, theirs.try_clone().unwrap(), &self.memory);
        self.dispatcher.join(id, ours, theirs, self.memory.page(id));
        manual
    }

    /// A worker that runs but does not listen.
    pub fn idle_worker(&self, slot: u16) -> Worker {
        self.manual(slot).run()
    }

    /// A worker that serves.
    pub fn worker(&self, slot: u16, site: &Site) -> Worker {
        let worker = self.idle_worker(slot);
        self.serve(&worker, site);
        worker
    }

    /// The worker listens at the address and serves its connections.
    pub fn serve(&self, worker: &Worker, site: &Site) {
        worker.open_share(site.group, self.share(worker.id.slot, site));
        self.serve_manual(worker.id, site);
    }

    /// Shares the address with a worker; returns the slot's own listener if there is one.
    pub fn share(&self, slot: u16, site: &Site) -> Option<OwnedFd> {
        let listening = self.listen(&site.address, Some(slot)).unwrap();
        assert_eq!(listening.group, site.group);
        listening.listener.filter(|_| listening.own)
    }

    pub fn serve_manual(&self, worker: WorkerId, site: &Site) {
        self.dispatcher.serve(worker, site.group, self.plain_http.get());
        self.settle();
    }

    /// `server.close()` in one worker; returns when the accept thread has confirmed.
    pub fn close(&self, worker: &Worker, site: &Site) {
        self.close_manual(worker.id, site);
        worker.close_share(site.group);
    }

    pub fn close_manual(&self, worker: WorkerId, site: &Site) {
        self.dispatcher.close(worker, site.group).blocking_recv().expect("the accept thread lives");
    }

    /// Ends the worker, whatever it is doing; then reports its death to the accept thread.
    pub fn kill(&self, worker: Worker) {
        let id = worker.id;
        worker.die();
        self.dead(id);
    }

    pub fn dead(&self, worker: WorkerId) {
        self.dispatcher.dead(worker);
        self.settle();
    }

    pub fn fd_pressure(&self, worker: WorkerId, fd_pressure: bool) {
        self.dispatcher.fd_pressure(worker, fd_pressure);
        self.settle();
    }

    pub fn set_admission(&self, admission: Option<Admission>) {
        self.dispatcher.set_admission(admission);
        self.settle();
    }

    pub fn inspected(&self, worker: WorkerId) {
        self.dispatcher.inspected(worker);
        self.settle();
    }

    pub fn drain_manual(&self, manual: &ManualWorker) {
        self.dispatcher.drain(manual.id);
        self.settle();
    }

    pub fn retire(&self) {
        // Resolves when the thread has ended.
        let _ = self.dispatcher.retire().blocking_recv();
    }

    /// Returns when the accept thread has executed all earlier commands.
    pub fn settle(&self) {
        // Commands are executed in order; this one is always refused.
        let nowhere = tcp_port("no address", 0);
        assert!(self.listen(&nowhere, None).is_err());
    }

    pub fn refused(&self) -> u64 {
        self.memory.get(header::REFUSED)
    }

    pub fn queued(&self) -> u64 {
        self.memory.get(header::QUEUED)
    }

    /// Waits for a report; earlier reports count too.
    #[track_caller]
    pub fn report(&self, what: &str, is: impl Fn(&Report) -> bool) {
        let mut seen = self.seen.borrow_mut();
        let until = Instant::now() + TIMEOUT;
        while !seen.iter().any(&is) {
            let left = until.saturating_duration_since(Instant::now());
            seen.push(self.reports.recv_timeout(left).unwrap_or_else(|_| panic!("not reported: {what}")));
        }
    }

    #[track_caller]
    pub fn report_unresponsive(&self, unresponsive: u16) {
        self.report(
            "unresponsive",
            |report| matches!(report, Report::Unresponsive { slot } if *slot == unresponsive),
        );
    }

    #[track_caller]
    pub fn report_recovered(&self, well: u16) {
        self.report("recovered", |report| matches!(report, Report::Recovered { slot } if *slot == well));
    }

    /// The number of reports so far that match.
    pub fn reports(&self, is: impl Fn(&Report) -> bool) -> usize {
        let mut seen = self.seen.borrow_mut();
        seen.extend(self.reports.try_iter());
        seen.iter().filter(|report| is(report)).count()
    }

    /// How often the accept thread has gone to sleep. It must have sent a report before.
    pub fn sleeps(&self) -> u64 {
        let status = self.thread_file("status");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse().unwrap()
    }

    /// The processor time of the accept thread, in steps of 10 ms. It must have sent a report before.
    pub fn processor_time(&self) -> Duration {
        // Fields 14 and 15 of proc_pid_stat(5), counted from the end of the name, which may contain any character.
        let stat = self.thread_file("stat");
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Reads a file of the thread in /proc. The file stays open, to be readable when no descriptor is left.
    fn thread_file(&self, name: &'static str) -> String {
        let mut files = self.thread_files.borrow_mut();
        let file = files.entry(name).or_insert_with(|| {
            let thread = self.thread.load(Ordering::Relaxed);
            assert_ne!(thread, 0, "the accept thread has sent no report yet");
            File::open(format!("/proc/self/task/{thread}/{name}")).unwrap()
        });
        let mut text = [0; 8192];
        let length = file.read_at(&mut text, 0).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    /// Ends the cluster as the primary does, while clients are still connected.
    pub fn stop(self) {
        drop(self.dispatcher);
    }
}

/// The primary is short of descriptors.
pub fn is_short_of_descriptors(report: &Report) -> bool {
    let short = Some(Subject::DescriptorsShort { worker: None });
    matches!(report, Report::Notice(Event::Notice { subject, .. }) if *subject == short)
}

/// A log line of this level whose message contains `part`.
pub fn is_said(report: &Report, loudness: Level, part: &str) -> bool {
    matches!(report, Report::Notice(Event::Notice { level, message, .. }) if *level == loudness && message.contains(part))
}
