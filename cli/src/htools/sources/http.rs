//! Documents over HTTP, plain or in TLS.
//!
//! ```text
//!   https://user:password@host:5080/prefix  + /2/info  ──► one request, one answer, connection closed
//! ```
//!
//! Whoever answers is taken for who was asked, as Ganeti's tools do: a cluster's API has a certificate that it
//! signed itself, and what is read is public. With a file of authorities (the variable [`AUTHORITIES`]) certificate
//! and name are checked; use it when the address has a password.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The variable that names a file of authorities in PEM.
pub const AUTHORITIES: &str = "ROOST_RAPI_CA";

/// Ganeti's time to get a connection.
const CONNECT: Duration = Duration::from_secs(15);
/// Ganeti's time for the whole of a request.
const ANSWER: Duration = Duration::from_secs(60);
/// 100,000 instances in bulk are a quarter of this.
const LONGEST: usize = 1 << 30;

/// Where something is to be got from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    tls: bool,
    host: String,
    port: u16,
    /// What paths begin with; without a slash at its end.
    prefix: String,
    /// Name and password.
    credentials: Option<String>,
}

impl Place {
    /// Over HTTP without TLS.
    pub fn plain(host: &str, port: u16) -> Place {
        let (host, prefix) = (host.to_owned(), String::new());
        Place { tls: false, host, port, prefix, credentials: None }
    }

    /// Of an address as `-m` has it: a host, or a URL. Without a scheme, a host with a port is plain HTTP, as in
    /// Ganeti, and one without is HTTPS.
    pub fn of(address: &str, default_port: u16) -> Result<Place, String> {
        let wrong = |why: &str| format!("'{address}' is not an address: {why}");
        let (tls, rest) = match address.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some((scheme, _)) => {
                return Err(wrong(&format!("{scheme} is not http, https or file")));
            }
            None if address.parse::<Ipv6Addr>().is_ok() => {
                return Ok(Place { tls: true, ..Place::plain(address, default_port) });
            }
            None => (!address.contains(':'), address),
        };
        let (authority, prefix) = match rest.find('/') {
            Some(at) => (&rest[..at], rest[at..].trim_end_matches('/')),
            None => (rest, ""),
        };
        let (credentials, authority) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(decoded(user).ok_or_else(|| wrong("bad % in it"))?), host),
            None => (None, authority),
        };
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => {
                (host, Some(port.strip_prefix(':').ok_or_else(|| wrong("no port"))?))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| wrong(&format!("'{port}' is no port")))?,
            None => default_port,
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(wrong("it has no host"));
        }
        let (host, prefix) = (host.to_owned(), prefix.to_owned());
        Ok(Place { tls, host, port, prefix, credentials })
    }

    /// The URL of a path, without a password.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}{path}", self.authority(), self.prefix)
    }

    fn authority(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(host) => format!("[{host}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }

    /// The text at a path. `authorities`: PEM, see the module. Errors: what happened, at which URL.
    pub async fn get(&self, path: &str, authorities: Option<&Path>) -> Result<String, String> {
        let failed = |why: String| format!("{}: {why}", self.url(path));
        let asked = tokio::time::timeout(ANSWER, self.ask(path, authorities)).await;
        let late = || failed(format!("no answer within {} seconds", ANSWER.as_secs()));
        asked.map_err(|_| late())?.map_err(failed)
    }

    async fn ask(&self, path: &str, authorities: Option<&Path>) -> Result<String, String> {
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let stream = match tokio::time::timeout(CONNECT, connect).await {
            Ok(stream) => stream.map_err(|e| format!("cannot connect: {e}"))?,
            Err(_) => return Err(format!("no connection within {} seconds", CONNECT.as_secs())),
        };
        let (status, body) = if self.tls {
            let name = ServerName::try_from(self.host.clone())
                .map_err(|_| format!("'{}' is no host name", self.host))?;
            let connector = TlsConnector::from(Arc::new(tls(authorities)?));
            let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
            self.request(stream, path).await
        } else {
            self.request(stream, path).await
        }
        .map_err(|e| e.to_string())?;
        let text = String::from_utf8(body.to_vec()).map_err(|_| "the answer is not UTF-8")?;
        if status == hyper::StatusCode::OK {
            return Ok(text);
        }
        // The API says why in JSON; others on a page of many lines.
        let explained: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let why =
            explained.as_ref().and_then(|why| why.get("message")?.as_str()).unwrap_or_default();
        Err(format!("{status}{}{why}", if why.is_empty() { "" } else { ": " }))
    }

    async fn request(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        path: &str,
    ) -> Result<(hyper::StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer; what goes wrong with it, the request tells.
        tokio::spawn(connection);
        let mut request = Request::get(format!("{}{path}", self.prefix))
            .header(HOST, self.authority())
            .header(CONNECTION, "close");
        if let Some(credentials) = &self.credentials {
            request =
                request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(credentials)));
        }
        let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = answer.status();
        Ok((status, Limited::new(answer.into_body(), LONGEST).collect().await?.to_bytes()))
    }
}

/// A text with its `%41` written out.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

fn tls(authorities: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match authorities {
        None => Arc::new(Anybody(Arc::clone(&provider))),
        Some(file) => {
            let failed = |why: String| format!("{}: {why}", file.display());
            let mut roots = RootCertStore::empty();
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|e| failed(e.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|e| failed(e.to_string()))?;
                roots.add(certificate).map_err(|e| failed(e.to_string()))?;
            }
            let roots = Arc::new(roots);
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|e| failed(e.to_string()))?
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let config = config.dangerous().with_custom_certificate_verifier(verifier);
    Ok(config.with_no_client_auth())
}

/// Takes any certificate, but only from who has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_or_urls() {
        let cases = [
            ("cluster", "https://cluster:5080/x"),
            ("cluster:8080", "http://cluster:8080/x"),
            ("https://cluster", "https://cluster:5080/x"),
            ("http://cluster/rapi/", "http://cluster:5080/rapi/x"),
            ("https://me:s%40cret@10.0.0.1:1", "https://10.0.0.1:1/x"),
            ("fd00::1", "https://[fd00::1]:5080/x"),
            ("https://[fd00::1]", "https://[fd00::1]:5080/x"),
            ("https://[fd00::1]:7", "https://[fd00::1]:7/x"),
        ];
        for (address, url) in cases {
            assert_eq!(Place::of(address, 5080).map(|place| place.url("/x")), Ok(url.to_owned()));
        }
        let place = Place::of("https://me:s%40cret@h", 1).expect("address");
        assert_eq!(place.credentials.as_deref(), Some("me:s@cret"));
    }

    #[test]
    fn what_is_no_address_is_said() {
        let cases = [
            ("ftp://x", "'ftp://x' is not an address: ftp is not http, https or file"),
            ("x:port", "'x:port' is not an address: 'port' is no port"),
            ("https://", "'https://' is not an address: it has no host"),
            ("", "'' is not an address: it has no host"),
            ("https://[::1]x", "'https://[::1]x' is not an address: no port"),
            ("https://a%zz@h", "'https://a%zz@h' is not an address: bad % in it"),
            ("https://é%é@h", "'https://é%é@h' is not an address: bad % in it"),
        ];
        for (address, error) in cases {
            assert_eq!(Place::of(address, 5080), Err(error.to_owned()));
        }
    }
}
