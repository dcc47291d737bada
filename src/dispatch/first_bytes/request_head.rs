//! The first bytes of a connection, as far as its placement needs them. PURE: bytes in, result out. Untrusted bytes are
//! parsed only by httparse; a connection without an HTTP/1 request is placed by the strategy.

use std::net::IpAddr;

use crate::config::Network;

/// Maximum number of headers; a request with more is placed by the strategy.
const MAX_HEADERS: usize = 100;

/// The result of parsing the first bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestHead<'a> {
    /// The headers are not complete yet.
    Incomplete,
    /// TLS, HTTP/2, garbage, or too many bytes.
    Unreadable,
    Request {
        /// Without the query.
        path: &'a str,
        cookies: Vec<&'a str>,
        forwarded: Vec<&'a str>,
        x_forwarded_for: Vec<&'a str>,
    },
}

pub fn read<'a>(bytes: &'a [u8]) -> RequestHead<'a> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => RequestHead::Incomplete,
        Err(_) => RequestHead::Unreadable,
        Ok(httparse::Status::Complete(_)) => {
            let all = |name: &str| -> Vec<&'a str> {
                let named = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
                named.filter_map(|header| std::str::from_utf8(header.value).ok()).collect()
            };
            let target = request.path.unwrap_or_default();
            RequestHead::Request {
                path: target.split_once('?').map_or(target, |(path, _)| path),
                cookies: all("cookie"),
                forwarded: all("forwarded"),
                x_forwarded_for: all("x-forwarded-for"),
            }
        }
    }
}

/// The value of a cookie in Cookie headers (RFC 6265, section 4.2.1).
pub fn cookie<'a>(headers: &[&'a str], name: &str) -> Option<&'a str> {
    let pairs = headers.iter().flat_map(|header| header.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The client behind trusted proxies: from the peer backwards through the recorded hops, the first that is not a
/// trusted proxy itself. None if the peer is not trusted or has sent nothing readable.
pub fn client(
    peer: IpAddr,
    forwarded: &[&str],
    x_forwarded_for: &[&str],
    trusted: &[Network],
) -> Option<IpAddr> {
    if !is_trusted(peer, trusted) {
        return None;
    }
    let hops: Vec<Option<IpAddr>> = if forwarded.is_empty() {
        x_forwarded_for.iter().flat_map(|header| header.split(',')).map(address).collect()
    } else {
        forwarded.iter().flat_map(|header| header.split(',')).map(forwarded_for).collect()
    };
    let mut known = None;
    // Each hop was recorded by the one after it. Hops beyond an unreadable one were not recorded by a trusted proxy.
    for hop in hops.into_iter().rev().map_while(|hop| hop) {
        known = Some(hop);
        if !is_trusted(hop, trusted) {
            break;
        }
    }
    known
}

/// The `for=` of one element of a Forwarded header (RFC 7239, section 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut named = pairs.filter(|(key, _)| key.eq_ignore_ascii_case("for"));
    named.next().and_then(|(_, value)| address(value.trim_matches('"')))
}

/// An address with or without port and brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split(']').next().and_then(|ip| ip.parse().ok());
    }
    text.rsplit_once(':').and_then(|(ip, _)| ip.parse().ok())
}

pub fn is_trusted(ip: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_shows_its_cookies_and_hops() {
        let bytes = b"GET /a?b HTTP/1.1\r\nHost: a\r\nCookie: x=1; drover_affinity=2.abc\r\nX-Forwarded-For: 1.2.3.4, 10.0.0.1\r\n\r\n";
        let RequestHead::Request { path, cookies, x_forwarded_for, .. } = read(bytes) else {
            panic!("a request")
        };
        assert_eq!(path, "/a");
        assert_eq!(cookie(&cookies, "drover_affinity"), Some("2.abc"));
        assert_eq!(cookie(&cookies, "affinity"), None);
        assert_eq!(x_forwarded_for, ["1.2.3.4, 10.0.0.1"]);
    }

    #[test]
    fn half_a_header_is_waited_for_and_no_http_is_not() {
        assert_eq!(read(b"GET / HTTP/1.1\r\nCookie: a"), RequestHead::Incomplete);
        assert_eq!(read(b"\x16\x03\x01\x02\x00\x01"), RequestHead::Unreadable);
        assert_eq!(read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), RequestHead::Unreadable);
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_no_proxy_of_ours() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let ours: [Network; 2] = ["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], Option<&'a str>);
        let cases: [Case<'_>; 11] = [
            ("10.0.0.1", &[], &["6.6.6.6, 1.2.3.4, 10.0.0.9"], Some("1.2.3.4")),
            ("10.0.0.1", &[], &["10.1.1.1, 10.0.0.9"], Some("10.1.1.1")),
            ("9.9.9.9", &[], &["1.2.3.4"], None),
            (
                "::1",
                &["for=\"[2001:db8::7]:443\";proto=https, for=10.0.0.1"],
                &["1.1.1.1"],
                Some("2001:db8::7"),
            ),
            ("10.0.0.1", &[], &["1.2.3.4:5678"], Some("1.2.3.4")),
            ("10.0.0.1", &[], &["unknown"], None),
            ("10.0.0.1", &[], &["1.2.3.4, unknown"], None),
            ("10.0.0.1", &[], &["1.2.3.4, unknown, 10.0.0.2"], Some("10.0.0.2")),
            ("10.0.0.1", &["for=1.2.3.4, for=_hidden"], &[], None),
            ("10.0.0.1", &[], &["10.0.0.3, 10.0.0.2"], Some("10.0.0.3")),
            ("::ffff:10.0.0.1", &[], &["1.2.3.4"], Some("1.2.3.4")),
        ];
        for (peer, forwarded, x_forwarded_for, expected) in cases {
            assert_eq!(client(ip(peer), forwarded, x_forwarded_for, &ours), expected.map(ip), "{peer}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_first_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let RequestHead::Request { cookies, forwarded, x_forwarded_for, .. } = read(&bytes) {
                cookie(&cookies, "drover_affinity");
                let trusted = ["127.0.0.0/8".parse().unwrap()];
                client("127.0.0.1".parse().unwrap(), &forwarded, &x_forwarded_for, &trusted);
            }
        }
    }
}
