//! Addresses and networks: which proxies are trusted, which hosts are loopback.

use super::kind::{Refusal, Shape};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address and the length of its prefix in bits. Written `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` lies in this network; an IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| "not an address")?;
        let Some(bits) = bits else { return Ok(Self(address.into())) };
        let bits = bits.parse().map_err(|_| "not a number of bits")?;
        IpNet::new(address, bits).map(Self).map_err(|_| "more bits than an address has")
    }
}

impl TryFrom<String> for Network {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Named networks, the same as in Express.
const NAMED: &[(&str, &[&str])] = &[
    ("loopback", &["127.0.0.0/8", "::1/128"]),
    ("linklocal", &["169.254.0.0/16", "fe80::/10"]),
    ("uniquelocal", &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]),
];

/// The list of trusted proxies. Canonical: a list of networks.
pub const PROXIES: Shape = Shape {
    allowed: "false, or a list of addresses, networks such as '10.0.0.0/8', 'loopback', 'linklocal' and 'uniquelocal'",
    read: read_proxies,
    shown: true,
};

fn read_proxies(raw: &Value) -> Result<Value, Refusal> {
    let names: Vec<&str> = match raw {
        Value::Bool(false) => Vec::new(),
        Value::Bool(true) => {
            return Err(Some("list the proxies: anybody can send X-Forwarded-For".into()));
        }
        Value::String(text) => text.split(',').map(str::trim).collect(),
        Value::Array(list) => list.iter().map(Value::as_str).collect::<Option<_>>().ok_or(None)?,
        _ => return Err(None),
    };
    let mut networks: Vec<Value> = Vec::new();
    for name in names {
        match NAMED.iter().find(|(known, _)| *known == name) {
            Some((_, members)) => networks.extend(members.iter().map(|member| json!(member))),
            None => {
                let network: Network = name.parse().map_err(|wrong| Some(format!("{name:?} is {wrong}")))?;
                networks.push(json!(network.to_string()));
            }
        }
    }
    Ok(Value::Array(networks))
}

/// Whether a listener on `host` can be reached only from this machine.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_own_addresses_only() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let parsed: Network = network.parse().expect(network);
            assert_eq!(parsed.contains(address.parse().expect(address)), inside, "{network} {address}");
        }
    }

    #[test]
    fn proxies_are_named_one_by_one_and_true_is_refused_with_the_reason() {
        for (raw, expected) in [
            (json!(false), Some(json!([]))),
            (json!("loopback, 192.0.2.1"), Some(json!(["127.0.0.0/8", "::1/128", "192.0.2.1/32"]))),
            (json!(["10.0.0.0/8"]), Some(json!(["10.0.0.0/8"]))),
            (json!(["10.0.0.0/33"]), None),
            (json!(["proxy.example"]), None),
            (json!(1), None),
        ] {
            assert_eq!(read_proxies(&raw).ok(), expected, "{raw}");
        }
        assert!(read_proxies(&json!(true)).is_err_and(|hint| hint.is_some()));
    }

    #[test]
    fn loopback_is_this_machine_alone() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("127.8.8.8", true),
            ("localhost", true),
            ("::1", true),
            ("[::1]", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("localhost.example", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }
}
