//! Values that are kept in Redis for all machines: records with versions, and counters.

use std::collections::BTreeSet;

use redis::{AsyncCommands, RedisError, RedisResult, Script};

use super::link::Link;
use super::parts;
use super::request::operation;
use super::scripts::Scripts;
use super::settings::Settings;

/// Keys that are looked through in one step.
const SCANNED: usize = 1000;

/// Why an operation was not done.
pub enum Refused {
    Redis(RedisError),
    /// The request cannot be read.
    Invalid,
    /// The names in a Redis Cluster cannot be listed.
    NotListed,
}

impl From<RedisError> for Refused {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

pub struct Values<'a> {
    pub settings: &'a Settings,
    pub scripts: &'a Scripts,
}

impl Values<'_> {
    /// The key of a value.
    fn key(&self, space: &str, name: &[u8]) -> Vec<u8> {
        let mut key = format!("{}{space}:", self.settings.prefix).into_bytes();
        match &self.settings.seal {
            Some(seal) => {
                key.extend_from_slice(seal.name(&[space.as_bytes(), b"\0", name].concat()).as_bytes())
            }
            None => key.extend_from_slice(name),
        }
        key
    }

    /// What is stored: the name, which the key may not tell, and the value.
    fn packed(&self, key: &[u8], name: &[u8], value: &[u8]) -> Vec<u8> {
        self.settings.sealed(&String::from_utf8_lossy(key), parts::write(0, &[name, value]))
    }

    fn unpacked(&self, key: &[u8], stored: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let opened = self.settings.opened(&String::from_utf8_lossy(key), stored, false)?;
        match parts::read(&opened)?.1[..] {
            [name, value] => Some((name.to_vec(), value.to_vec())),
            _ => None,
        }
    }

    /// Performs an operation on values; the parts of its answer.
    ///
    /// # Errors
    /// Redis' own, or what is asked for cannot be.
    pub async fn perform(
        &self,
        link: &mut Link,
        what: u8,
        given: &[Vec<u8>],
    ) -> Result<Vec<Vec<u8>>, Refused> {
        let space = given.first().and_then(|space| parts::text(space)).ok_or(Refused::Invalid)?;
        let digits = |number: i64| number.to_string().into_bytes();
        match (what, &given[1..]) {
            (operation::LOAD, [name]) => {
                let key = self.key(space, name);
                let found: (Option<Vec<u8>>, Option<Vec<u8>>) =
                    redis::cmd("HMGET").arg(&key).arg("v").arg("b").query_async(link).await?;
                let (Some(version), Some(stored)) = found else { return Ok(Vec::new()) };
                // What cannot be opened is not of this fleet.
                let value = self.unpacked(&key, &stored).map(|(_, value)| value);
                Ok(value.map_or_else(Vec::new, |value| vec![version, value]))
            }
            (operation::STORE, [name, value, life, expected]) => {
                let key = self.key(space, name);
                let stored = self.packed(&key, name, value);
                let invocation = [&stored[..], life, expected];
                let (done, version): (i64, Vec<u8>) =
                    run(&self.scripts.store, &key, &invocation, link).await?;
                Ok(vec![digits(done), version])
            }
            (operation::REMOVE, [name]) => {
                let removed: i64 = link.del(self.key(space, name)).await?;
                Ok(vec![digits(removed)])
            }
            (operation::COUNT, [name, added, life]) => {
                let key = self.key(space, name);
                let (count, left): (i64, i64) =
                    run(&self.scripts.count, &key, &[&added[..], life], link).await?;
                Ok(vec![digits(count), digits(left)])
            }
            (operation::PEEK, [name]) => {
                let key = self.key(space, name);
                let (count, left): (Option<i64>, i64) =
                    redis::pipe().get(&key).pttl(&key).query_async(link).await?;
                Ok(count.map_or_else(Vec::new, |count| vec![digits(count), digits(left)]))
            }
            (operation::ASSIGN, [name, count, life]) => {
                let mut command = redis::cmd("SET");
                command.arg(self.key(space, name)).arg(count);
                if life != b"0" {
                    command.arg("PX").arg(life);
                }
                command.query_async::<()>(link).await?;
                Ok(Vec::new())
            }
            (operation::TAKE, [name]) => {
                let key = self.key(space, name);
                let count: i64 = run(&self.scripts.take, &key, &[], link).await?;
                Ok(vec![digits(count)])
            }
            (operation::LIST, []) => {
                let mut all = Vec::new();
                for key in self.keys(link, space).await? {
                    let found: (Option<Vec<u8>>, Option<Vec<u8>>) =
                        redis::cmd("HMGET").arg(&key).arg("v").arg("b").query_async(link).await?;
                    if let (Some(version), Some(stored)) = found
                        && let Some((name, value)) = self.unpacked(&key, &stored)
                    {
                        all.extend([name, version, value]);
                    }
                }
                Ok(all)
            }
            (operation::CLEAR, []) => {
                let mut removed = 0;
                for keys in self.keys(link, space).await?.chunks(SCANNED) {
                    removed += link.del::<_, i64>(keys).await?;
                }
                Ok(vec![digits(removed)])
            }
            _ => Err(Refused::Invalid),
        }
    }

    /// The keys of a space.
    async fn keys(&self, link: &mut Link, space: &str) -> Result<Vec<Vec<u8>>, Refused> {
        if link.is_cluster() {
            return Err(Refused::NotListed);
        }
        let escaped: String = format!("{}{space}:", self.settings.prefix)
            .chars()
            .flat_map(|letter| {
                let escape = matches!(letter, '*' | '?' | '[' | ']' | '\\').then_some('\\');
                escape.into_iter().chain([letter])
            })
            .collect();
        let (mut found, mut cursor) = (BTreeSet::new(), 0u64);
        loop {
            let (next, keys): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(format!("{escaped}*"))
                .arg("COUNT")
                .arg(SCANNED)
                .query_async(link)
                .await?;
            found.extend(keys);
            cursor = next;
            if cursor == 0 {
                return Ok(found.into_iter().collect());
            }
        }
    }
}

async fn run<T: redis::FromRedisValue>(
    script: &Script,
    key: &[u8],
    arguments: &[&[u8]],
    link: &mut Link,
) -> RedisResult<T> {
    let mut invocation = script.key(key);
    for argument in arguments {
        invocation.arg(*argument);
    }
    invocation.invoke_async(link).await
}
