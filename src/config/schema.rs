//! The index that finds the key of a path as users write it. The keys themselves are in `sections/`.

use super::fault::nearest;
use super::key::Key;
use super::kind::Kind;
use super::sections;
use std::collections::{BTreeMap, BTreeSet};

/// Sections with a second name.
pub const SECTION_SYNONYMS: &[(&str, &str)] = &[("scaling", "autoScaling")];

/// Where a configuration is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The options of `createServer`, with a ClusterConfig in `cluster` and in `cluster.config`.
    Server,
    /// A ClusterConfig alone.
    Cluster,
}

/// A spelling of a key, with the kind of its values.
#[derive(Clone, Copy)]
pub struct Spelling {
    pub key: &'static Key,
    pub kind: &'static Kind,
}

/// Every spelling of every key, and the names in each section.
pub struct Index {
    spellings: BTreeMap<String, Spelling>,
    /// The names in a section; true for those that are not synonyms.
    sections: BTreeMap<String, BTreeMap<String, bool>>,
}

impl Index {
    pub fn new(form: Form) -> Self {
        let mut index = Self { spellings: BTreeMap::new(), sections: BTreeMap::new() };
        let prefixes: &[&str] = match form {
            Form::Cluster => &[""],
            Form::Server => &["cluster.config.", "cluster."],
        };
        for (prefix, key) in
            prefixes.iter().flat_map(|prefix| sections::cluster().map(move |key| (prefix, key)))
        {
            for (path, kind) in key.spellings() {
                let canonical = path == key.path;
                index.insert(&format!("{prefix}{path}"), Spelling { key, kind }, canonical);
                for (synonym, section) in SECTION_SYNONYMS {
                    if let Some(rest) = path.strip_prefix(section).filter(|rest| rest.starts_with('.')) {
                        index.insert(&format!("{prefix}{synonym}{rest}"), Spelling { key, kind }, false);
                    }
                }
            }
        }
        if form == Form::Server {
            // It is in no section, so that no fault and no suggestion mentions it.
            let tls = &sections::server::TLS;
            index.spellings.insert(tls.path.to_owned(), Spelling { key: tls, kind: &tls.kind });
            let redis = sections::redis::KEYS.iter().copied().flatten();
            for key in sections::server().chain(redis) {
                for (path, kind) in key.spellings() {
                    index.insert(path, Spelling { key, kind }, path == key.path);
                }
            }
        }
        index
    }

    fn insert(&mut self, path: &str, spelling: Spelling, canonical: bool) {
        let mut parent = String::new();
        for name in path.split('.') {
            *self.sections.entry(parent.clone()).or_default().entry(name.to_owned()).or_default() |=
                canonical;
            parent = join(&parent, name);
        }
        self.spellings.insert(path.to_owned(), spelling);
    }

    pub fn spelling(&self, path: &str) -> Option<Spelling> {
        self.spellings.get(path).copied()
    }

    pub fn is_section(&self, path: &str) -> bool {
        self.sections.contains_key(path)
    }

    /// The names directly in a section; without synonyms if it has other names.
    pub fn names(&self, section: &str) -> Vec<&str> {
        let Some(names) = self.sections.get(section) else { return Vec::new() };
        let own = names.values().any(|canonical| *canonical);
        names.iter().filter(|(_, canonical)| **canonical || !own).map(|(name, _)| name.as_str()).collect()
    }

    /// A suggestion for an unknown `name` in `section`: a similar name in the same section, or the path of a key of
    /// exactly that name elsewhere.
    pub fn suggestion(&self, section: &str, name: &str) -> Option<String> {
        let siblings = self.sections.get(section).into_iter().flat_map(BTreeMap::keys).map(String::as_str);
        let elsewhere = || {
            let common = |path: &str| path.bytes().zip(section.bytes()).take_while(|(a, b)| a == b).count();
            let nodes: BTreeSet<&String> = self.spellings.keys().chain(self.sections.keys()).collect();
            let same_name = nodes
                .into_iter()
                .filter(|path| path.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case(name)));
            same_name.max_by_key(|path| (common(path), std::cmp::Reverse(path.len()))).cloned()
        };
        let alike = nearest(name, siblings);
        let exact = alike.filter(|alike| alike.eq_ignore_ascii_case(name));
        exact.map(str::to_owned).or_else(elsewhere).or_else(|| alike.map(str::to_owned))
    }
}

/// A name within a section as a path.
pub fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// The key with this canonical path.
pub fn key(path: &str) -> Option<&'static Key> {
    sections::all().find(|key| key.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_means_two_keys() {
        let mut seen = BTreeMap::new();
        for key in sections::all() {
            for (path, _) in key.spellings() {
                assert_eq!(seen.insert(path, key.path), None, "{path}");
            }
        }
    }

    #[test]
    fn a_key_is_found_by_each_spelling_in_both_places() {
        let index = Index::new(Form::Server);
        for (path, canonical) in [
            ("port", "port"),
            ("cluster.enabled", "enabled"),
            ("cluster.config.enabled", "enabled"),
            ("cluster.autoRestart", "processManagement.respawn"),
            ("cluster.config.limits.cpu", "resources.maxCpuPerWorker"),
            ("cluster.config.scaling.scaleUpThreshold", "autoScaling.scaleUpThreshold.cpu"),
            ("cluster.scaling.minWorkers", "autoScaling.minWorkers"),
            ("cluster.config.healthCheck.retries", "healthCheck.maxFailures"),
        ] {
            assert_eq!(index.spelling(path).map(|found| found.key.path), Some(canonical), "{path}");
        }
        assert!(index.is_section("cluster.config.scaling.scaleUpThreshold"));
        assert!(index.spelling("workers").is_none());
        assert!(Index::new(Form::Cluster).spelling("workers").is_some());
    }

    #[test]
    fn suggestions_come_from_the_section_first_and_then_from_where_the_name_belongs() {
        let index = Index::new(Form::Server);
        for (section, name, expected) in [
            ("cluster.config", "worker", Some("workers")),
            ("cluster.config.processManagement", "maxRestart", Some("maxRestarts")),
            ("cluster.config", "maxFailures", Some("cluster.config.healthCheck.maxFailures")),
            ("", "workers", Some("cluster.workers")),
            ("", "healthCheck", Some("cluster.healthCheck")),
            ("", "prot", Some("port")),
            ("cluster.config.logging", "colour", None),
        ] {
            assert_eq!(index.suggestion(section, name).as_deref(), expected, "{section} {name}");
        }
    }
}
