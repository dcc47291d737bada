//! A list of byte strings after a number that says what they are: the form of requests to the fleet's thread, of its
//! answers, and of messages between machines. PURE. Each part has its length before it, 32 bits, little-endian.

/// The bytes of a list.
pub fn write(what: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + parts.iter().map(|part| 4 + part.len()).sum::<usize>());
    bytes.push(what);
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// What a list is, and its parts; None: the bytes are no list.
pub fn read(bytes: &[u8]) -> Option<(u8, Vec<&[u8]>)> {
    let (what, mut rest) = bytes.split_first()?;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (part, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        parts.push(part);
        rest = after;
    }
    Some((*what, parts))
}

/// A text part.
pub fn text(part: &[u8]) -> Option<&str> {
    std::str::from_utf8(part).ok()
}

/// A part that is a number in decimal digits.
pub fn number<N: std::str::FromStr>(part: &[u8]) -> Option<N> {
    text(part)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_survives_the_wire(what: u8, parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6)) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let bytes = write(what, &parts);
            prop_assert_eq!(read(&bytes), Some((what, parts)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some((what, parts)) = read(&bytes) {
                prop_assert_eq!(write(what, &parts), bytes);
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_no_list() {
        let bytes = write(3, &[b"one", b"two"]);
        assert!((2..bytes.len()).all(|end| end == 8 || read(&bytes[..end]).is_none()));
        assert_eq!(read(b""), None);
    }
}
