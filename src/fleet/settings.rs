//! What a machine needs to know to be one of a fleet.

use std::time::Duration;

use redis::{
    ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, TlsCertificates,
};

use super::seal::{RUN, Seal};
use crate::config::sections::redis::Redis;
use crate::config::{Config, Secret};
use crate::error::{Code, Error, Result};
use crate::ipc::crypto::Key;
use crate::model::Member;

/// The port of sentinels and servers that name none.
const PORT: u16 = 6379;

/// Where Redis is.
pub enum Servers {
    One(ConnectionInfo),
    Sentinels {
        sentinels: Vec<ConnectionAddr>,
        master: String,
        password: Option<Secret>,
        server: ConnectionInfo,
    },
    Nodes(Vec<ConnectionInfo>),
}

pub struct Settings {
    pub servers: Servers,
    /// Of an encrypted connection.
    pub certificates: Option<TlsCertificates>,
    /// Of all keys and channels.
    pub prefix: String,
    /// For an operation.
    pub timeout: Duration,
    /// This machine, without its figures.
    pub member: Member,
    /// None: what passes over Redis is not encrypted by drover.
    pub seal: Option<Seal>,
    /// Maximum bytes of a program's message.
    pub max_message: usize,
}

/// The facts about this process, and random bytes.
pub struct Own<'a> {
    /// The program's file, and the name of its package or folder.
    pub script: &'a str,
    pub name: &'a str,
    pub host: String,
    pub started_at: u64,
    pub entropy: &'a [u8; 32],
}

impl Settings {
    /// None: there is no `redis` in the configuration.
    ///
    /// # Errors
    /// `CONFIGURATION_INVALID`: an address, a certificate or the key cannot be used.
    pub fn new(config: &Config, own: Own<'_>) -> Result<Option<Self>> {
        let redis = &config.redis;
        if !redis.enabled {
            return Ok(None);
        }
        let (id, run) = own.entropy.split_at(8);
        let mut random = [0; RUN];
        random.copy_from_slice(&run[..RUN]);
        let member = Member {
            id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            host: own.host,
            pid: std::process::id(),
            script: own.script.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: own.started_at,
            figures: serde_json::Value::Null,
        };
        let encrypted = redis.tls.enabled || redis.tls.ca.is_some() || redis.tls.cert.is_some();
        let seal = seal(config, random)?;
        let mut prefix = redis.prefix.clone().unwrap_or_else(|| format!("drover:{}:", own.name));
        if let Some(seal) = &seal {
            // Machines with another key are another fleet.
            prefix.push_str(&format!("{:.8}:", seal.name(b"")));
        }
        Ok(Some(Self {
            servers: servers(redis, encrypted)?,
            certificates: certificates(redis)?,
            prefix,
            timeout: redis.timeout,
            member,
            seal,
            max_message: config.ipc.max_message_size as usize,
        }))
    }

    /// What has passed over Redis, of the channel or key `place`; None: it is not of this fleet, or, of what comes `once`, it
    /// came before.
    pub fn opened(&self, place: &str, bytes: &[u8], once: bool) -> Option<Vec<u8>> {
        match &self.seal {
            None => Some(bytes.to_vec()),
            Some(seal) if once => seal.open_message(place, bytes),
            Some(seal) => seal.open_value(place, bytes),
        }
    }

    /// Bytes as they may pass over Redis, for the channel or key `place`.
    pub fn sealed(&self, place: &str, bytes: Vec<u8>) -> Vec<u8> {
        self.seal.as_ref().map_or_else(|| bytes.clone(), |seal| seal.seal(place, &bytes))
    }
}

fn invalid(path: &str, why: &str) -> Error {
    Error::new(Code::ConfigurationInvalid, format!("{path}: {why}"))
}

fn servers(redis: &Redis, encrypted: bool) -> Result<Servers> {
    let addr = |host: &str, port: u16| {
        if encrypted {
            ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host.to_owned(), port)
        }
    };
    // The configuration has checked their form.
    let all = |servers: &[String]| -> Vec<ConnectionAddr> {
        let split = servers.iter().filter_map(|server| server.rsplit_once(':'));
        split.map(|(host, port)| addr(host, port.parse().unwrap_or(PORT))).collect()
    };
    let mut login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
    login = login.set_db(i64::from(redis.db)).set_lib_name("drover", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &redis.username {
        login = login.set_username(username);
    }
    if let Some(password) = &redis.password {
        login = login.set_password(password.reveal());
    }
    let info = |addr: ConnectionAddr| {
        let info = addr.into_connection_info().map_err(|error| invalid("redis", error.category()))?;
        Ok::<_, Error>(info.set_redis_settings(login.clone()))
    };
    if let Some(nodes) = &redis.nodes {
        return Ok(Servers::Nodes(all(nodes).into_iter().map(info).collect::<Result<_>>()?));
    }
    if let Some(sentinels) = &redis.sentinels {
        return Ok(Servers::Sentinels {
            sentinels: all(sentinels),
            master: redis.master.clone(),
            password: redis.sentinel_password.clone(),
            server: info(addr(&redis.host, redis.port))?,
        });
    }
    let Some(url) = &redis.url else { return Ok(Servers::One(info(addr(&redis.host, redis.port))?)) };
    // The message does not show the URL, which may have a password.
    let found = url.reveal().into_connection_info().map_err(|error| {
        invalid(
            "redis.url",
            &format!("it is no URL of Redis ({}), allowed: redis://, rediss://, unix://", error.category()),
        )
    })?;
    let mut given = found.redis_settings().clone();
    given = given.set_protocol(ProtocolVersion::RESP3).set_lib_name("drover", env!("CARGO_PKG_VERSION"));
    let addr = match found.addr().clone() {
        ConnectionAddr::Tcp(host, port) if encrypted => {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        }
        addr => addr,
    };
    Ok(Servers::One(found.set_addr(addr).set_redis_settings(given)))
}

/// The contents of a file, or the PEM text itself.
fn pem(path: &str, given: &str) -> Result<Vec<u8>> {
    if given.trim_start().starts_with("-----BEGIN") {
        return Ok(given.as_bytes().to_vec());
    }
    std::fs::read(given).map_err(|error| invalid(path, &format!("{given} cannot be read: {error}")))
}

fn certificates(redis: &Redis) -> Result<Option<TlsCertificates>> {
    let tls = &redis.tls;
    let client_tls = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Some(ClientTlsConfig {
            client_cert: pem("redis.tls.cert", cert)?,
            client_key: pem("redis.tls.key", key.reveal())
                .map_err(|_| invalid("redis.tls.key", "the file cannot be read"))?,
        }),
        (None, None) => None,
        _ => return Err(invalid("redis.tls", "cert and key are needed together")),
    };
    let root_cert = tls.ca.as_ref().map(|ca| pem("redis.tls.ca", ca)).transpose()?;
    let has_some = client_tls.is_some() || root_cert.is_some();
    Ok(has_some.then_some(TlsCertificates { client_tls, root_cert }))
}

/// All machines derive the same key: a passphrase is stretched with the same salt.
fn seal(config: &Config, run: [u8; RUN]) -> Result<Option<Seal>> {
    if !config.ipc.encryption {
        return Ok(None);
    }
    let secret = config.ipc.key.as_ref().map(Secret::reveal);
    let secret = secret.ok_or_else(|| {
        invalid("ipc.key", "needed with redis and ipc.encryption, the same on every machine (or the variable IPC_ENCRYPTION_KEY)")
    })?;
    let key = Key::read(secret).or_else(|| Key::stretch(secret, b"drover fleet salt 1"));
    let key = key
        .ok_or_else(|| Error::new(Code::ResourceExhausted, "ipc.key: not enough memory to derive the key"))?;
    Ok(Some(Seal::new(&key, run)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostFacts, Input};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn settings(options: Value) -> Result<Option<Settings>> {
        let host = HostFacts { usable_cpus: 2.0, available_memory: None, single_process_reason: None };
        let input = Input { options: &options, env: &BTreeMap::new(), host: &host };
        let config = crate::config::load_cluster(&input)?.config;
        let own = Own { script: "a.js", name: "app", host: "here".into(), started_at: 5, entropy: &[7; 32] };
        Settings::new(&config, own)
    }

    fn of(redis: Value) -> Settings {
        settings(json!({ "redis": redis })).unwrap().unwrap()
    }

    #[test]
    fn without_redis_there_is_no_fleet() {
        assert!(settings(json!({})).unwrap().is_none());
        assert!(settings(json!({ "redis": false })).unwrap().is_none());
    }

    #[test]
    fn a_server_is_named_by_a_url_or_by_its_parts() {
        for (redis, place) in [
            (json!(true), "localhost:6379"),
            (json!({ "host": "a", "port": 5 }), "a:5"),
            (json!("redis://:secret@b:7/3"), "b:7"),
            (json!({ "url": "redis://b:7", "tls": true }), "b:7"),
            (json!("rediss://b:7"), "b:7"),
            (json!("unix:///run/redis.sock"), "/run/redis.sock"),
        ] {
            let Servers::One(info) = of(redis.clone()).servers else { panic!("{redis}") };
            assert_eq!(info.addr().to_string(), place, "{redis}");
        }
        let Servers::One(info) = of(json!("redis://me:secret@b:7/3")).servers else { panic!() };
        assert_eq!((info.redis_settings().db(), info.redis_settings().username()), (3, Some("me")));
        for tls in [
            json!("rediss://b:7"),
            json!({ "host": "b", "tls": true }),
            json!({ "url": "redis://b", "tls": true }),
        ] {
            let Servers::One(info) = of(tls.clone()).servers else { panic!("{tls}") };
            assert!(matches!(info.addr(), ConnectionAddr::TcpTls { insecure: false, .. }), "{tls}");
        }
    }

    #[test]
    fn sentinels_and_nodes_are_lists() {
        let sentinels = of(json!({ "sentinels": ["a:1", { "host": "b", "port": 2 }], "master": "m" }));
        let Servers::Sentinels { sentinels, master, .. } = sentinels.servers else { panic!() };
        assert_eq!((sentinels.len(), master.as_str()), (2, "m"));
        let Servers::Nodes(nodes) = of(json!({ "nodes": ["a:1"], "password": "p" })).servers else {
            panic!()
        };
        assert_eq!(nodes[0].redis_settings().password(), Some("p"));
    }

    #[test]
    fn no_fault_shows_what_may_be_secret() {
        for redis in [json!("http://:hunter2@a"), json!({ "url": "redis://:hunter2@a:b:c" })] {
            let error = settings(json!({ "redis": redis })).err().unwrap();
            assert_eq!(error.code, Code::ConfigurationInvalid);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let key = json!({ "redis": { "tls": { "cert": "/a", "key": "/nowhere/hunter2" } } });
        let error = settings(key).err().unwrap();
        assert!(error.message.contains("redis.tls.cert"), "{error}");
    }

    #[test]
    fn encryption_needs_a_key_that_all_machines_have() {
        let encrypted = |key: Value| json!({ "redis": true, "ipc": { "encryption": true, "key": key } });
        let error = settings(encrypted(Value::Null)).err().unwrap();
        assert!(error.message.contains("ipc.key"), "{error}");
        let prefix = |key: &str| settings(encrypted(json!(key))).unwrap().unwrap().prefix;
        let (one, other) = (prefix("a passphrase that is long"), prefix("another passphrase, also long"));
        assert!(one.starts_with("drover:app:") && one != other, "{one} {other}");
        assert_eq!(of(json!(true)).prefix, "drover:app:");
    }
}
