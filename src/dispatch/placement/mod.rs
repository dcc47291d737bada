//! Placement: which worker gets a connection. PURE: the state of the workers and the time go in, a slot comes out. The
//! caller has the descriptors.

mod candidates;
mod rebalance;
mod warm_up;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::connection::{Connection, Hint};
use super::settings::Settings;
use crate::balance::{Candidate, Chooser, ClientKey, Strategy, client_key, flow_key};
use crate::ipc::control::GroupId;

pub use candidates::{Pace, Prospect, WorkerLoad};
pub use rebalance::RebalanceTimer;
pub use warm_up::WarmUp;

use candidates::Candidates;

/// The bit of a random number that spares the busy workers; the strategies use the others.
const SPARES: u32 = 1 << 31;

/// What the choice of a worker depends on.
pub struct PlacementRequest {
    pub group: GroupId,
    pub client: Option<SocketAddr>,
    pub hint: Hint,
    /// The worker that handed the connection off.
    pub donor: Option<u16>,
}

impl PlacementRequest {
    pub fn of(connection: &Connection) -> Self {
        let Connection { group, client, hint, donor, .. } = *connection;
        Self { group, client, hint, donor }
    }
}

pub struct Placement {
    settings: Arc<Settings>,
    /// The state of the strategy, by group.
    choosers: BTreeMap<GroupId, Chooser>,
    candidates: Candidates,
    random: u32,
}

impl Placement {
    pub fn new(settings: Arc<Settings>, seed: u32) -> Self {
        Self { settings, choosers: BTreeMap::new(), candidates: Candidates::default(), random: seed | 1 }
    }

    /// The slot whose worker gets the connection; None while no worker can. `prospects`: the workers that serve its
    /// group, by slot. `plain_http`: whether they serve plain HTTP there.
    pub fn choose(
        &mut self,
        request: &PlacementRequest,
        plain_http: bool,
        prospects: impl Iterator<Item = Prospect>,
    ) -> Option<u16> {
        let PlacementRequest { group, client, hint, donor } = *request;
        let strategy = self.settings.effective_strategy();
        // A client that is bound to a slot goes there, warm or not.
        let bound = self.settings.binds(hint.slot);
        // A number is drawn for every choice, so that choices do not depend on each other.
        self.random = next_random(self.random);
        let spares = !bound && self.random & SPARES != 0;
        let candidates = self.candidates.find(prospects, plain_http && !bound, spares, &self.settings);
        if candidates.len() > 1 {
            candidates.retain(|candidate| Some(candidate.slot) != donor);
        }
        let by_hint = |slot| candidates.iter().position(|candidate: &Candidate| candidate.slot == slot);
        let chosen = hint.slot.and_then(by_hint).or_else(|| {
            let chooser = self.choosers.entry(group).or_insert_with(|| Chooser::new(strategy));
            if self.settings.rebalance && donor.is_some() && !bound {
                chooser.lightest(candidates)
            } else {
                chooser.choose(candidates, key(strategy, client, hint), self.random)
            }
        });
        chosen.map(|index| candidates[index].slot)
    }

    /// Removes a group.
    pub fn forget(&mut self, group: GroupId) {
        self.choosers.remove(&group);
    }
}

fn key(strategy: Strategy, client: Option<SocketAddr>, hint: Hint) -> Option<ClientKey> {
    match strategy {
        Strategy::Os => client.map(flow_key),
        _ => hint.client.or(client.map(|client| client.ip())).map(client_key),
    }
}

/// xorshift32: sufficient for two random choices.
fn next_random(mut random: u32) -> u32 {
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    random
}
