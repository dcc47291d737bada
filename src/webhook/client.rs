//! One POST, over HTTP/1.1 on a new connection, through the proxy of the environment (`HTTPS_PROXY`, `HTTP_PROXY`,
//! `ALL_PROXY`, `NO_PROXY`). Redirects are not followed, so that no other server gets the message.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, HeaderValue, Request, header};
use base64::Engine;
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::health::probe::Stream;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("drover/", env!("CARGO_PKG_VERSION")));

/// Encrypted or not.
type Connected = Box<dyn Stream>;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The address cannot be used.
    Address,
    NoAnswer,
    UnknownHost,
    Connection(io::ErrorKind),
    Tls,
    /// The response was invalid or incomplete.
    Protocol,
    /// The proxy refused the tunnel.
    Proxy,
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
        cause.map_or(Self::Protocol, |cause| Self::Connection(cause.kind()))
    }
}

/// A connection's task, which ends with its owner.
struct Driven(JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Used by one thread.
pub struct Client {
    runtime: Runtime,
    tls: TlsConnector,
    proxies: Matcher,
}

impl Client {
    /// # Errors
    /// The event loop could not be created.
    pub fn new() -> io::Result<Self> {
        Self::by(Matcher::from_env())
    }

    fn by(proxies: Matcher) -> io::Result<Self> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, tls: TlsConnector::from(Arc::new(tls)), proxies })
    }

    /// # Errors
    /// There was no response within `time`.
    pub fn post(&self, url: &str, body: String, time: Duration) -> Result<Answer, Failure> {
        let url: Uri = url.parse().map_err(|_| Failure::Address)?;
        let sent = async { tokio::time::timeout(time, self.send(&url, body)).await };
        self.runtime.block_on(sent).unwrap_or(Err(Failure::NoAnswer))
    }

    async fn send(&self, url: &Uri, body: String) -> Result<Answer, Failure> {
        let authority = url.authority().ok_or(Failure::Address)?;
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(Failure::Address);
        }
        let stream = self.reach(url).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let _driven = Driven(tokio::spawn(async move { drop(connection.await) }));
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::post(path).body(Body::from(body)).map_err(|_| Failure::Address)?;
        let headers = request.headers_mut();
        let host = without_user(authority).parse().map_err(|_| Failure::Address)?;
        headers.insert(header::HOST, host);
        headers.insert(header::USER_AGENT, AGENT);
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = basic(authority) {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        let answer = sender.send_request(request).await?;
        Ok(Answer { status: answer.status().as_u16(), headers: answer.headers().clone() })
    }

    /// A connection to the server of the URL.
    async fn reach(&self, url: &Uri) -> Result<Connected, Failure> {
        let stream = match self.proxies.intercept(url) {
            Some(proxy) => self.tunnel(&proxy, url).await?,
            None => Box::new(connect(url).await?),
        };
        self.encrypted(url, stream).await
    }

    /// `stream` with TLS if the URL requires it.
    async fn encrypted(&self, url: &Uri, stream: Connected) -> Result<Connected, Failure> {
        match url.scheme_str() {
            Some("https") => {
                let name = ServerName::try_from(host(url)?.to_owned()).map_err(|_| Failure::Address)?;
                let encrypted = self.tls.connect(name, stream).await.map_err(|_| Failure::Tls)?;
                Ok(Box::new(encrypted))
            }
            _ => Ok(stream),
        }
    }

    /// A tunnel through the proxy (CONNECT, RFC 9110 9.3.6).
    async fn tunnel(&self, proxy: &Intercept, url: &Uri) -> Result<Connected, Failure> {
        let stream = self.encrypted(proxy.uri(), Box::new(connect(proxy.uri()).await?)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // The connection task keeps running below the upgraded stream.
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        let target = format!("{}:{}", host_in_authority(url)?, port(url));
        let mut request = Request::connect(&target).body(Body::empty()).map_err(|_| Failure::Address)?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, target.parse().map_err(|_| Failure::Address)?);
        headers.insert(header::USER_AGENT, AGENT);
        if let Some(authorization) = proxy.basic_auth() {
            headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        let answer = sender.send_request(request).await?;
        if !answer.status().is_success() {
            return Err(Failure::Proxy);
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(|_| Failure::Proxy)?;
        Ok(Box::new(TokioIo::new(upgraded)))
    }
}

async fn connect(url: &Uri) -> Result<TcpStream, Failure> {
    let addresses = lookup_host((host(url)?, port(url))).await.map_err(|_| Failure::UnknownHost)?;
    let mut failed = Failure::UnknownHost;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Failure::Connection(error.kind()),
        }
    }
    Err(failed)
}

fn host_in_authority(url: &Uri) -> Result<&str, Failure> {
    url.host().filter(|host| !host.is_empty()).ok_or(Failure::Address)
}

/// Without the brackets of an IPv6 address.
fn host(url: &Uri) -> Result<&str, Failure> {
    Ok(host_in_authority(url)?.trim_start_matches('[').trim_end_matches(']'))
}

fn port(url: &Uri) -> u16 {
    url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 })
}

fn without_user(authority: &Authority) -> &str {
    authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host)
}

/// Basic authentication with the name and password of the URL (RFC 7617).
fn basic(authority: &Authority) -> Option<HeaderValue> {
    let (user, _) = authority.as_str().rsplit_once('@')?;
    let user = if user.contains(':') { user.to_owned() } else { format!("{user}:") };
    let mut value: HeaderValue =
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user)).parse().ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream as Blocking};
    use std::thread::JoinHandle;

    const TIME: Duration = Duration::from_secs(10);

    fn client(proxies: Matcher) -> Client {
        Client::by(proxies).expect("an event loop")
    }

    /// A server of one connection: after input that ends with each `until` it writes the response; returns everything
    /// read.
    fn serving(exchanges: &'static [(&str, &[u8])]) -> (u16, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = move || {
            let (mut stream, _): (Blocking, _) = listener.accept().unwrap();
            let (mut read, mut piece) = (Vec::new(), [0; 1024]);
            for (until, answer) in exchanges {
                while !read.ends_with(until.as_bytes()) {
                    match stream.read(&mut piece).unwrap() {
                        0 => break,
                        count => read.extend_from_slice(&piece[..count]),
                    }
                }
                stream.write_all(answer).unwrap();
            }
            String::from_utf8_lossy(&read).into_owned()
        };
        (port, std::thread::spawn(serve))
    }

    const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

    #[test]
    fn a_message_is_posted_with_what_the_address_says() {
        let (port, server) = serving(&[("{}", b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n\r\n")]);
        let url = format!("http://hook:secret@127.0.0.1:{port}/a?b=c");
        let answer = client(Matcher::builder().build()).post(&url, "{}".into(), TIME).unwrap();
        assert_eq!((answer.status, answer.headers["retry-after"].to_str().ok()), (429, Some("7")));
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{request}");
        let lines = request.to_lowercase();
        for line in [
            format!("host: 127.0.0.1:{port}"),
            "authorization: basic ag9vazpzzwnyzxq=".into(),
            "content-type: application/json".into(),
            "content-length: 2".into(),
        ] {
            assert!(lines.contains(&format!("\r\n{line}\r\n")), "{line} in {request}");
        }
    }

    #[test]
    fn a_proxy_is_asked_for_a_way_through_unless_the_host_needs_none() {
        let through: &[(&str, &[u8])] = &[("\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"), ("{}", NO_CONTENT)];
        let (port, proxy) = serving(through);
        let proxies = || Matcher::builder().all(format!("http://me:word@127.0.0.1:{port}")).no("127.0.0.1");
        let answer = client(proxies().build()).post("http://hooks.example/x", "{}".into(), TIME).unwrap();
        assert_eq!(answer.status, 204);
        let asked = proxy.join().unwrap();
        assert!(asked.starts_with("CONNECT hooks.example:80 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_lowercase().contains("\r\nproxy-authorization: basic bwu6d29yza==\r\n"), "{asked}");
        assert!(asked.contains("\r\n\r\nPOST /x HTTP/1.1\r\n"), "{asked}");

        let (near, server) = serving(&[("{}", NO_CONTENT)]);
        let url = format!("http://127.0.0.1:{near}/");
        assert_eq!(client(proxies().build()).post(&url, "{}".into(), TIME).unwrap().status, 204);
        server.join().unwrap();
    }

    #[test]
    fn why_nothing_was_posted_is_told_apart() {
        let direct = client(Matcher::builder().build());
        let post = |url: String, time| direct.post(&url, "{}".into(), time).unwrap_err();
        let (port, server) = serving(&[("", b"nonsense")]);
        assert_eq!(post(format!("https://127.0.0.1:{port}/"), TIME), Failure::Tls);
        server.join().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(post(format!("http://127.0.0.1:{port}/"), Duration::from_millis(20)), Failure::NoAnswer);
        drop(listener);
        let refused = Failure::Connection(io::ErrorKind::ConnectionRefused);
        assert_eq!(post(format!("http://127.0.0.1:{port}/"), TIME), refused);
        for none in ["nonsense", "ftp://127.0.0.1/", "/path"] {
            assert_eq!(post(none.into(), TIME), Failure::Address, "{none}");
        }

        let (port, proxy) = serving(&[("\r\n\r\n", b"HTTP/1.1 403 Forbidden\r\n\r\n")]);
        let proxied = client(Matcher::builder().all(format!("http://127.0.0.1:{port}")).build());
        assert_eq!(proxied.post("http://hooks.example/", "{}".into(), TIME).unwrap_err(), Failure::Proxy);
        proxy.join().unwrap();
    }
}
