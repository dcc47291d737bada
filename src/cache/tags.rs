//! The tags of entries. PURE.

use std::collections::{HashMap, HashSet};

#[derive(Default)]
pub struct Tags {
    entries: HashMap<Box<[u8]>, HashSet<u32>>,
    tags: HashMap<u32, Vec<Box<[u8]>>>,
}

impl Tags {
    /// The tags of the entry are now these.
    pub fn set<'a>(&mut self, id: u32, tags: impl IntoIterator<Item = &'a [u8]>) {
        self.remove(id);
        for tag in tags {
            if self.entries.entry(tag.into()).or_default().insert(id) {
                self.tags.entry(id).or_default().push(tag.into());
            }
        }
    }

    /// The entry is gone.
    pub fn remove(&mut self, id: u32) {
        for tag in self.tags.remove(&id).unwrap_or_default() {
            let Some(entries) = self.entries.get_mut(&tag) else { continue };
            entries.remove(&id);
            if entries.is_empty() {
                self.entries.remove(&tag);
            }
        }
    }

    /// The tags of an entry.
    pub fn of(&self, id: u32) -> impl Iterator<Item = &[u8]> {
        self.tags.get(&id).into_iter().flatten().map(AsRef::as_ref)
    }

    /// The entries with a tag.
    pub fn with(&self, tag: &[u8]) -> Vec<u32> {
        self.entries.get(tag).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_knows_its_entries_until_they_are_gone() {
        let mut tags = Tags::default();
        tags.set(1, [b"red".as_slice(), b"big", b"red"]);
        tags.set(2, [b"red".as_slice()]);
        let mut red = tags.with(b"red");
        red.sort_unstable();
        assert_eq!(red, [1, 2]);
        tags.set(1, [b"big".as_slice()]);
        assert_eq!(tags.with(b"red"), [2]);
        assert_eq!(tags.of(1).collect::<Vec<_>>(), [b"big"]);
        tags.remove(1);
        tags.remove(2);
        assert!(tags.entries.is_empty() && tags.tags.is_empty());
    }
}
