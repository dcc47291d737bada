//! Circles among the modules of a folder.

use std::collections::{BTreeMap, BTreeSet};

/// Which module uses which others.
pub type Uses = BTreeMap<String, BTreeSet<String>>;

/// One way from a module back to itself, if there is any.
pub fn circle(uses: &Uses) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    uses.keys().find_map(|module| circle_from(module, uses, &mut Vec::new(), &mut done))
}

/// `way`: the modules that led here; `done`: those from which no way leads back.
fn circle_from(
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
    let found = uses.get(module).into_iter().flatten().find_map(|next| circle_from(next, uses, way, done));
    way.pop();
    done.insert(module.to_owned());
    found
}

#[test]
fn a_circle_is_found_however_long_it_is() {
    let uses = |arrows: &[(&str, &str)]| {
        let mut uses = Uses::new();
        for (from, to) in arrows {
            uses.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        uses
    };
    let found = |arrows: &[(&str, &str)]| circle(&uses(arrows)).map(|circle| circle.join(" "));
    assert_eq!(found(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]), None, "two ways are no circle");
    assert_eq!(found(&[("a", "b"), ("b", "a")]).as_deref(), Some("a b a"));
    assert_eq!(found(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")]).as_deref(), Some("b c d b"));
}
