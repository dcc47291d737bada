//! Access control: pages of other sites are refused; requests that change the cluster need the token if one is set; and
//! if the API can be reached from other machines, every request except for the dashboard's own files does.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use ring::hmac;

use super::api::Api;
use super::connection::Transport;
use super::dashboard;

/// Why a request is refused.
type Refusal = (StatusCode, &'static str);

/// # Errors
/// The status and the sentence with which the request is refused.
pub fn admit(api: &Api, request: &Request) -> Result<(), Refusal> {
    let (headers, method) = (request.headers(), request.method());
    is_from_here(headers, &api.host)?;
    let reads = method == Method::GET || method == Method::HEAD;
    // A request of unknown transport is trusted least.
    let is_private = api.is_local || request.extensions().get() == Some(&Transport::Socket);
    let is_open = reads && (is_private || dashboard::is_part(request.uri().path()));
    match &api.token {
        Some(token) if !is_open => {
            if shown(headers).is_some_and(|shown| is_same(shown, token.reveal())) {
                return Ok(());
            }
            let text = match reads {
                true => {
                    "an API that is not on loopback needs the header Authorization: Bearer <monitoring.token>"
                }
                false => "a POST needs the header Authorization: Bearer <monitoring.token>",
            };
            Err((StatusCode::UNAUTHORIZED, text))
        }
        _ => Ok(()),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Refuses pages of other sites, and host names that were rebound to this address (DNS rebinding).
fn is_from_here(headers: &HeaderMap, own: &str) -> Result<(), Refusal> {
    let host = text(headers, header::HOST);
    if host.is_some_and(|host| !is_ours(host, own)) {
        return Err((StatusCode::FORBIDDEN, "this Host is not this API's"));
    }
    if let Some(origin) = text(headers, header::ORIGIN) {
        let page = origin.split_once("://").map_or("?", |(_, host)| host);
        if !is_ours(page, own) || host != Some(page) {
            return Err((StatusCode::FORBIDDEN, "requests from pages of other sites are refused"));
        }
    }
    Ok(())
}

/// The token of a request. The scheme's name is case-insensitive (RFC 9110, section 11.1).
fn shown(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// A Host header, with or without its port.
fn is_ours(host: &str, own: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_any = own.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    // An API on every address has many names; there every request needs the token.
    is_any || is_loopback || name.eq_ignore_ascii_case("localhost") || name.eq_ignore_ascii_case(own)
}

/// Compares in constant time: two digests are compared, whose key is the token.
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
    fn a_token_is_shown_as_bearer_in_any_case() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(header::AUTHORIZATION, header::HeaderValue::from_static(value))])
        };
        for value in ["Bearer secret", "bearer secret", "BEARER  secret"] {
            assert_eq!(shown(&headers(value)), Some("secret"), "{value}");
        }
        for value in ["Basic secret", "Bearersecret", "Bearer", ""] {
            assert_eq!(shown(&headers(value)), None, "{value}");
        }
        assert_eq!(shown(&HeaderMap::new()), None);
    }

    #[test]
    fn a_token_is_the_same_or_not() {
        assert!(is_same("secret", "secret"));
        assert!(!is_same("secre", "secret") && !is_same("", "secret") && !is_same("secrets", "secret"));
    }
}
