//! The connection to Redis: one for commands and what is subscribed to (RESP3); of a Redis Cluster one a node.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, ProtocolVersion, PushInfo, RedisError,
    RedisFuture, RedisResult, ServerErrorKind, TlsMode, Value,
};
use tokio::sync::mpsc::UnboundedSender;

use super::settings::{Servers, Settings};
use crate::sys::clock::monotonic;

/// For the connection, the login and the subscriptions.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub enum Link {
    One(MultiplexedConnection),
    Nodes(ClusterConnection),
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(link) => link.req_packed_command(command),
            Self::Nodes(link) => link.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(link) => link.req_packed_commands(pipeline, offset, count),
            Self::Nodes(link) => link.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(link) => link.get_db(),
            Self::Nodes(link) => link.get_db(),
        }
    }
}

impl Link {
    /// Connects and subscribes; what is published comes by `pushes`.
    ///
    /// # Errors
    /// Nobody answers, or what answers refuses.
    pub async fn connect(
        settings: &Settings,
        channels: &[String],
        pushes: UnboundedSender<PushInfo>,
    ) -> RedisResult<Self> {
        let connecting = async {
            let mut link = Self::open(settings, pushes).await?;
            // For `CLIENT LIST`; who may not do that does without.
            let name = format!("drover-{}", settings.member.id);
            let _: RedisResult<Value> =
                redis::cmd("CLIENT").arg("SETNAME").arg(name).query_async(&mut link).await;
            for channel in channels {
                match &mut link {
                    Self::One(link) => link.subscribe(channel).await?,
                    Self::Nodes(link) => link.subscribe(channel).await?,
                }
            }
            Ok(link)
        };
        let late = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(late)?
    }

    async fn open(settings: &Settings, pushes: UnboundedSender<PushInfo>) -> RedisResult<Self> {
        let Settings { servers, certificates, timeout, .. } = settings;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(*timeout))
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_push_sender(pushes.clone());
        let client = match servers {
            Servers::One(info) => match certificates {
                Some(certificates) => Client::build_with_tls(info.clone(), certificates.clone())?,
                None => Client::open(info.clone())?,
            },
            Servers::Sentinels { sentinels, master, password, server } => {
                let login = server.redis_settings();
                let kind = SentinelServerType::Master;
                // They are asked one after the other, and those that do not answer may take all the time of an attempt:
                // each begins with another one.
                let mut sentinels = sentinels.clone();
                let first = monotonic().as_millis() as usize % sentinels.len().max(1);
                sentinels.rotate_left(first);
                let mut builder = SentinelClientBuilder::new(sentinels, master, kind)?
                    .set_client_to_redis_protocol(ProtocolVersion::RESP3)
                    .set_client_to_redis_db(login.db());
                if let redis::ConnectionAddr::TcpTls { .. } = server.addr() {
                    builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
                }
                if let Some(certificates) = certificates {
                    builder = builder
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_certificates(certificates.clone());
                }
                if let Some(username) = login.username() {
                    builder = builder.set_client_to_redis_username(username);
                }
                if let Some(password) = login.password() {
                    builder = builder.set_client_to_redis_password(password);
                }
                if let Some(password) = password {
                    builder = builder.set_client_to_sentinel_password(password.reveal());
                }
                builder.build()?.async_get_client().await?
            }
            Servers::Nodes(nodes) => {
                let mut builder = ClusterClient::builder(nodes.clone())
                    .use_protocol(ProtocolVersion::RESP3)
                    .response_timeout(*timeout)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .retries(2)
                    .push_sender(pushes);
                if let Some(info) = nodes.first() {
                    let login = info.redis_settings();
                    if let Some(username) = login.username() {
                        builder = builder.username(username);
                    }
                    if let Some(password) = login.password() {
                        builder = builder.password(password);
                    }
                    if let redis::ConnectionAddr::TcpTls { .. } = info.addr() {
                        builder = builder.tls(TlsMode::Secure);
                    }
                }
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates.clone());
                }
                return Ok(Self::Nodes(builder.build()?.get_async_connection().await?));
            }
        };
        Ok(Self::One(client.get_multiplexed_async_connection_with_config(&config).await?))
    }

    pub fn is_cluster(&self) -> bool {
        matches!(self, Self::Nodes(_))
    }
}

/// What a failed operation says about Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ill {
    /// The connection has to be made anew: nobody answers, or not who should.
    Away,
    /// It answers and refuses: it is full, or does not allow it.
    Refuses,
}

pub fn judge(error: &RedisError) -> Ill {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
    match error.kind() {
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly) => Ill::Away,
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType => Ill::Refuses,
        _ => Ill::Away,
    }
}

/// In words, without what may be secret.
pub fn words(error: &RedisError) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    if error.kind() == ErrorKind::Parse {
        return "what answers is no Redis".into();
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    // Redis names the script and its line.
    let line = line.split_once(" script: ").map_or(line, |(line, _)| line);
    line.chars().take(200).collect()
}
