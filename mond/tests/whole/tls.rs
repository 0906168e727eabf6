//! Over TLS, with a certificate that is renewed under way.

use crate::client::Answer;
use crate::fakes::start;
use roost_mond::http::Limits;
use roost_mond::http::tls::{Files, Tls, trusting};
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A certificate for localhost with its key, both in the files.
fn make(dir: &Path) -> Files {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = Files { certificate: dir.join("cert.pem"), key: dir.join("key.pem") };
    std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
    std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
    files
}

async fn get(to: SocketAddr, trusted: &Path) -> std::io::Result<Answer> {
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(to).await?;
    let mut stream = trusting(trusted).unwrap().connect(name, stream).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut all = vec![];
    stream.read_to_end(&mut all).await?;
    Ok(Answer::parse(&all))
}

#[tokio::test]
async fn tls_is_spoken_and_plain_text_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let files = make(dir.path());
    let mond = start(Limits::default(), Some(Tls::load(files.clone()).unwrap()));
    assert_eq!(get(mond.address, &files.certificate).await.unwrap().body, "[1]");
    assert_ne!(crate::client::get(mond.address, "/").await.status(), 200);
    let other = tempfile::tempdir().unwrap();
    let stranger = make(other.path());
    assert!(get(mond.address, &stranger.certificate).await.is_err());
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let files = make(dir.path());
    let tls = Tls::load(files.clone()).unwrap().looking(std::time::Duration::ZERO);
    let first = dir.path().join("first.pem");
    std::fs::copy(&files.certificate, &first).unwrap();
    let mond = start(Limits::default(), Some(tls));
    assert!(get(mond.address, &first).await.is_ok());
    std::fs::write(&files.certificate, "nonsense").unwrap();
    assert!(get(mond.address, &first).await.is_ok());
    make(dir.path());
    assert!(get(mond.address, &files.certificate).await.is_ok());
    assert!(get(mond.address, &first).await.is_err());
}

#[test]
fn files_that_are_no_use_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let files = make(dir.path());
    let other = tempfile::tempdir().unwrap();
    let wrong = Files { key: make(other.path()).key, ..files.clone() };
    assert!(Tls::load(wrong).unwrap_err().message.contains("cert.pem"));
    let missing = Files { key: dir.path().join("none.pem"), ..files };
    assert!(Tls::load(missing).unwrap_err().message.contains("none.pem"));
}
