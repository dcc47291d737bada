//! The configuration of dispatch, and values derived from it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::balance::Strategy;
use crate::config::Network;

pub use crate::config::sections::balancing::DispatchMode;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    None,
    Ip,
    /// A signed cookie of that name contains the slot.
    Cookie {
        name: String,
        key: Vec<u8>,
    },
}

/// The configuration of dispatch. Of a running cluster `max_connections_per_worker` and `admission` can
/// change.
#[derive(Clone, Debug)]
pub struct Settings {
    pub strategy: Strategy,
    pub mode: DispatchMode,
    /// By slot; 1 beyond its end.
    pub weights: Vec<u32>,
    /// Unresponsive workers get no new connections.
    pub health_aware: bool,
    /// Choose by current connection counts.
    pub connection_tracking: bool,
    pub affinity: Affinity,
    /// Proxies whose X-Forwarded-For or Forwarded header is used for hashing.
    pub trusted_proxies: Vec<Network>,
    /// Idle connections move from heavy workers to light ones.
    pub rebalance: bool,
    pub max_connections_per_worker: Option<u32>,
    /// Connections that may wait while no worker can take one.
    pub max_queue: usize,
    pub queue_timeout: Duration,
    /// The workers run under an inspector: a worker at a breakpoint does not count as unresponsive.
    pub inspected: bool,
    /// Number of slots for which listeners are created at the first listen.
    pub slots: u16,
    pub fallback: Fallback,
    /// None: off.
    pub admission: Option<Admission>,
}

/// Adaptive admission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    pub target: Duration,
    /// Paths that are never refused.
    pub exempt: Vec<String>,
}

/// drover's response when no worker can take a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    pub status: u16,
    pub body: String,
    pub content_type: String,
    /// Seconds; 0: no Retry-After.
    pub retry_after: u64,
}

impl Settings {
    /// Stickiness by address overrides the strategy: both modes then hash the address.
    pub fn effective_strategy(&self) -> Strategy {
        if self.affinity == Affinity::Ip { Strategy::IpHash } else { self.strategy }
    }

    /// Whether a client belongs to one worker. `slot`: from its cookie.
    pub fn binds(&self, slot: Option<u16>) -> bool {
        slot.is_some() || self.effective_strategy() == Strategy::IpHash
    }

    /// From `loadBalancing.weights`.
    pub fn weight(&self, slot: u16) -> u32 {
        self.weights.get(usize::from(slot)).copied().unwrap_or(1)
    }

    /// Whether an option keeps every listener in push mode: `dispatch: 'push'`, or an option that only the accept
    /// thread can honour.
    pub fn holds_push(&self) -> bool {
        self.mode == DispatchMode::Push
            || self.max_connections_per_worker.is_some()
            || matches!(self.affinity, Affinity::Cookie { .. })
            || !self.trusted_proxies.is_empty()
    }

    /// Whether the worker of a plain HTTP connection depends on its requests.
    pub fn needs_first_bytes(&self) -> bool {
        let by_cookie = matches!(self.affinity, Affinity::Cookie { .. });
        let by_forwarded = self.effective_strategy() == Strategy::IpHash && !self.trusted_proxies.is_empty();
        by_cookie || by_forwarded
    }

    /// Whether it is a trusted proxy's connection, each request of which may belong to another client.
    pub fn is_trusted(&self, peer: Option<SocketAddr>) -> bool {
        peer.is_some_and(|peer| self.trusted_proxies.iter().any(|network| network.contains(peer.ip())))
    }

    /// For tests: no option is set.
    #[cfg(test)]
    pub fn example() -> Self {
        Self {
            strategy: Strategy::RoundRobin,
            mode: DispatchMode::Auto,
            weights: Vec::new(),
            health_aware: true,
            connection_tracking: true,
            affinity: Affinity::None,
            trusted_proxies: Vec::new(),
            rebalance: true,
            max_connections_per_worker: None,
            max_queue: 1024,
            queue_timeout: Duration::from_secs(5),
            inspected: false,
            slots: 4,
            fallback: Fallback {
                status: 503,
                body: "busy\n".into(),
                content_type: "text/plain; charset=utf-8".into(),
                retry_after: 5,
            },
            admission: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Settings::example();
        change(&mut settings);
        settings
    }

    fn cookie() -> Affinity {
        Affinity::Cookie { name: "a".into(), key: vec![1] }
    }

    fn proxies() -> Vec<Network> {
        vec!["10.0.0.0/8".parse().unwrap()]
    }

    #[test]
    fn what_only_the_accept_thread_can_honour_holds_push_mode() {
        assert!(!Settings::example().holds_push());
        assert!(with(|settings| settings.mode = DispatchMode::Push).holds_push());
        assert!(with(|settings| settings.max_connections_per_worker = Some(9)).holds_push());
        assert!(with(|settings| settings.affinity = cookie()).holds_push());
        assert!(with(|settings| settings.trusted_proxies = proxies()).holds_push());
        assert!(!with(|settings| settings.affinity = Affinity::Ip).holds_push());
    }

    #[test]
    fn first_bytes_are_read_for_a_cookie_and_for_the_client_behind_a_proxy() {
        assert!(with(|settings| settings.affinity = cookie()).needs_first_bytes());
        assert!(!with(|settings| settings.trusted_proxies = proxies()).needs_first_bytes());
        for by_address in [(|settings| settings.affinity = Affinity::Ip) as fn(&mut Settings), |settings| {
            settings.strategy = Strategy::IpHash
        }] {
            assert!(!with(by_address).needs_first_bytes());
            let behind_proxies = with(|settings| {
                by_address(settings);
                settings.trusted_proxies = proxies();
            });
            assert!(behind_proxies.needs_first_bytes());
            assert_eq!(behind_proxies.effective_strategy(), Strategy::IpHash);
        }
    }
}
