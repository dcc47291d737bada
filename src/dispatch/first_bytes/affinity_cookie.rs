//! The value of an affinity cookie: a slot's number and a signature, so that a client cannot choose its
//! worker. HMAC-SHA256 over the number, cut to 128 bits, base64url (RFC 2104, RFC 4648).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const SIGNATURE: usize = 16;

fn mac(slot: u16, key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length.
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
    mac.update(b"drover affinity ");
    mac.update(&slot.to_be_bytes());
    mac
}

/// `<slot>.<signature>`.
pub fn cookie_value(slot: u16, key: &[u8]) -> String {
    let signature = mac(slot, key).finalize().into_bytes();
    format!("{slot}.{}", URL_SAFE_NO_PAD.encode(&signature[..SIGNATURE]))
}

/// The slot that a cookie names, if drover signed it. Compared in constant time.
pub fn cookie_slot(value: &str, key: &[u8]) -> Option<u16> {
    let (slot, signature) = value.split_once('.')?;
    let slot: u16 = slot.parse().ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if signature.len() != SIGNATURE {
        return None;
    }
    mac(slot, key).verify_truncated_left(&signature).is_ok().then_some(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_names_the_slot_it_was_made_for_and_no_other() {
        let value = cookie_value(3, b"secret");
        assert_eq!(cookie_slot(&value, b"secret"), Some(3));
        assert_eq!(cookie_slot(&value, b"other"), None);
        let forged = value.replacen('3', "4", 1);
        assert_eq!(cookie_slot(&forged, b"secret"), None);
        for nonsense in
            ["", ".", "3", "3.", "3.AA", "x.AAAAAAAAAAAAAAAAAAAAAA", "70000.AAAAAAAAAAAAAAAAAAAAAA"]
        {
            assert_eq!(cookie_slot(nonsense, b"secret"), None, "{nonsense}");
        }
    }
}
