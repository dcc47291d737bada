//! The description of an option.

use super::kind::Kind;

/// One option: its canonical path, its kind, its synonyms and its meaning.
pub struct Key {
    /// Relative to ClusterConfig, or to createServer's options for those of `sections::server`.
    pub path: &'static str,
    pub kind: Kind,
    pub synonyms: &'static [&'static str],
    /// A synonym whose values are read differently: `limits.memory` counts in MB.
    pub variant: Option<(&'static str, Kind)>,
    /// For the reference of the options.
    pub meaning: &'static str,
    /// In canonical units, as JSON. None: no value is stored under this key.
    pub default: Option<&'static str>,
}

impl Key {
    pub const fn new(path: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self { path, kind, synonyms: &[], variant: None, meaning, default: None }
    }

    pub const fn with_default(mut self, json: &'static str) -> Self {
        self.default = Some(json);
        self
    }

    pub const fn also(mut self, synonyms: &'static [&'static str]) -> Self {
        self.synonyms = synonyms;
        self
    }

    pub const fn variant(mut self, path: &'static str, kind: Kind) -> Self {
        self.variant = Some((path, kind));
        self
    }

    pub fn spellings(&'static self) -> impl Iterator<Item = (&'static str, &'static Kind)> {
        std::iter::once(self.path)
            .chain(self.synonyms.iter().copied())
            .map(|path| (path, &self.kind))
            .chain(self.variant.iter().map(|(path, kind)| (*path, kind)))
    }
}
