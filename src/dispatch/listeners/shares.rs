//! The state of each slot's share of an address.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// It has not listened yet.
    None,
    Open,
    /// Its program closed the server.
    Closed,
    /// The worker died or drains while its server was open; its replacement is expected.
    Orphaned,
}

/// The shares of an address, by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares(Vec<Share>);

impl Shares {
    pub fn of(&self, slot: u16) -> Share {
        self.0.get(usize::from(slot)).copied().unwrap_or(Share::None)
    }

    pub fn is_open(&self, slot: u16) -> bool {
        self.of(slot) == Share::Open
    }

    pub fn set(&mut self, slot: u16, share: Share) {
        let index = usize::from(slot);
        if self.0.len() <= index {
            self.0.resize(index + 1, Share::None);
        }
        self.0[index] = share;
    }

    /// Some worker serves there.
    pub fn any_open(&self) -> bool {
        self.0.contains(&Share::Open)
    }

    /// Some worker serves there, or its replacement is expected to.
    pub fn any_served(&self) -> bool {
        self.0.iter().any(|share| matches!(share, Share::Open | Share::Orphaned))
    }

    /// Slots whose workers have listened there.
    pub fn users(&self) -> usize {
        self.0.iter().filter(|share| **share != Share::None).count()
    }

    /// Every worker that serves or served there has closed its server.
    pub fn is_abandoned(&self) -> bool {
        self.0.contains(&Share::Closed)
            && self.0.iter().all(|share| matches!(share, Share::Closed | Share::None))
    }

    /// The shares of the other slots.
    pub fn beside(&self, slot: u16) -> impl Iterator<Item = Share> {
        let others = self.0.iter().enumerate().filter(move |(other, _)| *other != usize::from(slot));
        others.map(|(_, share)| *share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_abandoned_when_all_who_served_there_have_closed() {
        for (shares, is_abandoned) in [
            (&[Share::None, Share::Closed][..], true),
            (&[Share::Closed, Share::Orphaned], false),
            (&[Share::Closed, Share::Open], false),
            (&[Share::None], false),
            (&[], false),
        ] {
            assert_eq!(Shares(shares.to_vec()).is_abandoned(), is_abandoned, "{shares:?}");
        }
    }

    #[test]
    fn a_slot_that_was_never_told_of_has_not_listened() {
        let mut shares = Shares::default();
        shares.set(2, Share::Open);
        assert_eq!((shares.of(0), shares.of(2), shares.of(9)), (Share::None, Share::Open, Share::None));
        assert_eq!(shares.beside(2).collect::<Vec<_>>(), [Share::None; 2]);
        assert_eq!(shares.users(), 1);
    }
}
