//! The components of the log: the names in `logging.components`.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The cluster as a whole: starts, stops, sizes, commands.
    Supervisor,
    /// The lifecycle of single workers: started, ready, draining, ended.
    Workers,
    /// Listeners and connections.
    Dispatch,
    /// Hung event loops, health checks and the health report.
    Health,
    /// Messages between processes.
    Messages,
    /// Metrics and the monitoring API.
    Monitoring,
    /// Slow requests.
    Requests,
    /// The log itself.
    Log,
    /// Other machines.
    Fleet,
}

impl Component {
    pub const ALL: [Component; 9] = [
        Component::Supervisor,
        Component::Workers,
        Component::Dispatch,
        Component::Health,
        Component::Messages,
        Component::Monitoring,
        Component::Requests,
        Component::Log,
        Component::Fleet,
    ];

    pub const NAMES: [&'static str; 9] =
        ["supervisor", "workers", "dispatch", "health", "messages", "monitoring", "requests", "log", "fleet"];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|component| component.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_is_found_by_its_name() {
        for component in Component::ALL {
            assert_eq!(Component::named(component.name()), Some(component));
        }
        assert_eq!(Component::named("dispach"), None);
    }
}
