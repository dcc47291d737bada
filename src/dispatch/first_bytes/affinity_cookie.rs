//! The value of an affinity cookie: a slot's number and a signature, so that a client cannot choose its
//! worker. HMAC-SHA256 over the number, cut to 128 bits, base64url (RFC 2104, RFC 4648).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

const SIGNATURE: usize = 16;

fn sign(slot: u16, key: &hmac::Key) -> hmac::Tag {
    let mut signed = hmac::Context::with_key(key);
    signed.update(b"drover affinity ");
    signed.update(&slot.to_be_bytes());
    signed.sign()
}

/// `<slot>.<signature>`.
pub fn cookie_value(slot: u16, key: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    format!("{slot}.{}", URL_SAFE_NO_PAD.encode(&sign(slot, &key).as_ref()[..SIGNATURE]))
}

/// The slot of a cookie, if drover has signed it. The signatures are compared in constant time, by signing both once
/// more.
pub fn cookie_slot(value: &str, key: &[u8]) -> Option<u16> {
    let (slot, signature) = value.split_once('.')?;
    let slot: u16 = slot.parse().ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if signature.len() != SIGNATURE {
        return None;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let expected = hmac::sign(&key, &sign(slot, &key).as_ref()[..SIGNATURE]);
    hmac::verify(&key, &signature, expected.as_ref()).is_ok().then_some(slot)
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
