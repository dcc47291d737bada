//! Who may ask what: a browser's page of another site may not ask at all, and what changes the cluster needs the token
//! where there is one.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, StatusCode, header};
use ring::hmac;

use super::Api;

/// # Errors
/// The status and the sentence with which the request is refused.
pub fn admit(api: &Api, method: &Method, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(host) = text(header::HOST)
        && !is_ours(host, &api.host)
    {
        return Err((StatusCode::FORBIDDEN, "this Host is not this API's"));
    }
    if let Some(origin) = text(header::ORIGIN) {
        let host = origin.split_once("://").map_or("?", |(_, host)| host);
        if !is_ours(host, &api.host) || text(header::HOST).is_none_or(|ours| ours != host) {
            return Err((StatusCode::FORBIDDEN, "pages of other sites may not ask"));
        }
    }
    let Some(token) = api.token.as_ref().filter(|_| method != Method::GET && method != Method::HEAD) else {
        return Ok(());
    };
    let shown = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    match shown {
        Some(shown) if is_same(shown, token.reveal()) => Ok(()),
        _ => Err((
            StatusCode::UNAUTHORIZED,
            "a POST needs the header Authorization: Bearer <monitoring.token>",
        )),
    }
}

/// A Host header, with or without its port.
fn is_ours(host: &str, own: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_any = own.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    // An API on every address has as many names; its token is what guards it.
    is_any || is_loopback || name.eq_ignore_ascii_case("localhost") || name.eq_ignore_ascii_case(own)
}

/// Takes as long for a near miss as for a far one: compared are two digests under a key of this moment.
fn is_same(shown: &str, token: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    let expected = hmac::sign(&key, token.as_bytes());
    hmac::verify(&key, shown.as_bytes(), expected.as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopbacks_names_are_ours_and_a_rebound_name_is_not() {
        for host in ["localhost:3003", "127.0.0.1:3003", "127.0.0.1", "[::1]:3003", "LOCALHOST"] {
            assert!(is_ours(host, "127.0.0.1"), "{host}");
        }
        for host in ["evil.example:3003", "127.0.0.1.evil.example", "", "?", "10.0.0.1:3003"] {
            assert!(!is_ours(host, "127.0.0.1"), "{host}");
        }
        assert!(is_ours("10.0.0.1:3003", "10.0.0.1"));
        assert!(is_ours("cluster.internal", "0.0.0.0"));
    }

    #[test]
    fn a_token_is_the_same_or_not() {
        assert!(is_same("secret", "secret"));
        assert!(!is_same("secre", "secret") && !is_same("", "secret") && !is_same("secrets", "secret"));
    }
}
