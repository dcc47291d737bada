//! Dependency cycles among the modules of a folder.

use std::collections::{BTreeMap, BTreeSet};

/// Each module with the modules that it uses.
pub type Uses = BTreeMap<String, BTreeSet<String>>;

/// A path from a module back to itself, if there is one.
pub fn cycle(uses: &Uses) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    uses.keys().find_map(|module| cycle_from(module, uses, &mut Vec::new(), &mut done))
}

/// `way`: the modules on the current path; `done`: modules that are on no cycle.
fn cycle_from(
    module: &str,
    uses: &Uses,
    way: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(at) = way.iter().position(|before| before == module) {
        return Some([&way[at..], &[module.to_owned()]].concat());
    }
    if done.contains(module) {
        return None;
    }
    way.push(module.to_owned());
    let found = uses.get(module).into_iter().flatten().find_map(|next| cycle_from(next, uses, way, done));
    way.pop();
    done.insert(module.to_owned());
    found
}

#[test]
fn a_cycle_is_found_however_long_it_is() {
    let uses = |arrows: &[(&str, &str)]| {
        let mut uses = Uses::new();
        for (from, to) in arrows {
            uses.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        uses
    };
    let found = |arrows: &[(&str, &str)]| cycle(&uses(arrows)).map(|cycle| cycle.join(" "));
    assert_eq!(found(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]), None, "two paths are no cycle");
    assert_eq!(found(&[("a", "b"), ("b", "a")]).as_deref(), Some("a b a"));
    assert_eq!(found(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")]).as_deref(), Some("b c d b"));
}
