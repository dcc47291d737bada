//! The levels of drover's own lines: a minimum level, and different ones for components. They can be changed at run time.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::component::Component;
use crate::event::Level;

/// Marks a component without its own level.
const AS_ALL: u8 = u8::MAX;

#[derive(Debug)]
pub struct Levels {
    least: AtomicU8,
    components: [AtomicU8; Component::ALL.len()],
}

impl Levels {
    pub fn new(least: Level, components: &[(Component, Level)]) -> Self {
        let levels = Self {
            least: AtomicU8::new(least as u8),
            components: [const { AtomicU8::new(AS_ALL) }; Component::ALL.len()],
        };
        for (component, level) in components {
            levels.set(Some(*component), *level);
        }
        levels
    }

    pub fn allows(&self, component: Component, level: Level) -> bool {
        let own = self.components[component as usize].load(Ordering::Relaxed);
        let least = if own == AS_ALL { self.least.load(Ordering::Relaxed) } else { own };
        level as u8 >= least
    }

    /// Sets a level. None: for all components, including those with their own level.
    pub fn set(&self, component: Option<Component>, level: Level) {
        if let Some(component) = component {
            return self.components[component as usize].store(level as u8, Ordering::Relaxed);
        }
        self.least.store(level as u8, Ordering::Relaxed);
        self.components.iter().for_each(|own| own.store(AS_ALL, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_has_its_own_level_or_everybodys() {
        let levels = Levels::new(Level::Warn, &[(Component::Dispatch, Level::Debug)]);
        assert!(levels.allows(Component::Dispatch, Level::Debug));
        assert!(
            !levels.allows(Component::Workers, Level::Info) && levels.allows(Component::Workers, Level::Warn)
        );
        levels.set(Some(Component::Dispatch), Level::Silent);
        assert!(!levels.allows(Component::Dispatch, Level::Error));
        levels.set(None, Level::Debug);
        for component in [Component::Workers, Component::Dispatch] {
            assert!(levels.allows(component, Level::Debug), "the log as a whole");
        }
    }
}
