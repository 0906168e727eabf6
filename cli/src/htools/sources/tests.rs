//! Clusters by a real HTTP server, by files and by a master that pretends.

use super::http::Place;
use super::{SourceOptions, UtilisationOptions, known, rapi, use_utilisation};
use crate::context::{Cx, Environment, Io, Tty};
use crate::testing::Memory;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use roost_htools::model::NodeIdx;
use roost_htools::sources::monitoring::{Collector, Load};
use roost_htools::text;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const SAVED: &str = include_str!("../../../../htools/fixtures/sources/rapi.data");
const GROUPS: &str = include_str!("../../../../htools/fixtures/sources/rapi/groups.json");
const NODES: &str = include_str!("../../../../htools/fixtures/sources/rapi/nodes.json");
const INSTANCES: &str = include_str!("../../../../htools/fixtures/sources/rapi/instances.json");
const INFO: &str = include_str!("../../../../htools/fixtures/sources/rapi/info.json");

/// What is served at a path.
type Answer = fn(&Request<Incoming>) -> (StatusCode, &'static str);

/// The API of the recorded cluster, as far as it is asked.
fn api(request: &Request<Incoming>) -> (StatusCode, &'static str) {
    match request.uri().path_and_query().map_or("", |path| path.as_str()) {
        "/2/groups?bulk=1" => (StatusCode::OK, GROUPS),
        "/2/nodes?bulk=1" => (StatusCode::OK, NODES),
        "/2/instances?bulk=1" => (StatusCode::OK, INSTANCES),
        "/2/info" => (StatusCode::OK, INFO),
        _ => (StatusCode::NOT_FOUND, r#"{"code": 404, "message": "Not Found"}"#),
    }
}

/// The same for who knows the password.
fn closed_api(request: &Request<Incoming>) -> (StatusCode, &'static str) {
    let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    // reader:secret1
    if given == Some("Basic cmVhZGVyOnNlY3JldDE=") {
        return api(request);
    }
    (StatusCode::UNAUTHORIZED, r#"{"code": 401, "message": "Unauthorized"}"#)
}

fn nonsense(_: &Request<Incoming>) -> (StatusCode, &'static str) {
    (StatusCode::OK, "[1,")
}

/// A monitoring daemon.
fn monitoring(request: &Request<Incoming>) -> (StatusCode, &'static str) {
    match request.uri().path() {
        "/1/report/default/cpu-avg-load" => (
            StatusCode::OK,
            r#"{"name":"cpu-avg-load","version":"B","format_version":1,"timestamp":1,"category":null,"kind":0,
                "data":{"cpu_number":2,"cpus":[1.0003,0.9983],"cpu_total":1.9987}}"#,
        ),
        _ => (StatusCode::NOT_FOUND, "Unable to produce a report for the requested resource"),
    }
}

/// Serves on loopback, in TLS if there is a configuration. Result: the port.
async fn serve(answer: Answer, tls: Option<Arc<rustls::ServerConfig>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request| async move {
                let (status, text) = answer(&request);
                let mut response = Response::new(Full::new(Bytes::from(text)));
                *response.status_mut() = status;
                Ok::<_, Infallible>(response)
            });
            let http = hyper::server::conn::http1::Builder::new();
            match &tls {
                None => drop(http.serve_connection(TokioIo::new(stream), service).await),
                Some(tls) => {
                    if let Ok(stream) = TlsAcceptor::from(Arc::clone(tls)).accept(stream).await {
                        drop(http.serve_connection(TokioIo::new(stream), service).await);
                    }
                }
            }
        }
    });
    port
}

/// A certificate that signed itself, and how a server has it.
fn certificate(name: &str) -> (String, Arc<rustls::ServerConfig>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.expect("a key"))
        .expect("a certificate with its key");
    (made.cert.pem(), Arc::new(config))
}

fn context() -> (Cx, Memory) {
    let err = Memory::default();
    let io = Io::new(Box::new(std::io::sink()), Box::new(err.clone()), false, Tty::Nobody);
    (Cx::new("htools", "hbal", Environment::default(), io), err)
}

#[tokio::test]
async fn a_cluster_is_read_by_its_api() {
    let port = serve(api, None).await;
    let cluster = rapi::load(&format!("127.0.0.1:{port}")).await.expect("a cluster").cluster;
    assert_eq!(text::write(&cluster), SAVED);
}

#[tokio::test]
async fn whoever_answers_in_tls_is_believed_unless_authorities_are_named() {
    let (pem, config) = certificate("localhost");
    let (other, _) = certificate("localhost");
    let port = serve(api, Some(config)).await;
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = |name: &str, pem: &str| -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).expect("a file");
        path
    };
    let place = Place::of(&format!("https://localhost:{port}"), 1).expect("address");
    let asked = async |authorities: Option<&Path>| rapi::answers(&place, authorities).await;
    assert!(asked(None).await.is_ok());
    assert!(asked(Some(&file("own", &pem))).await.is_ok());
    let error = asked(Some(&file("other", &other))).await.expect_err("unknown authority");
    assert!(error.contains("certificate"), "{error}");
    let error = asked(Some(&file("none", "nothing"))).await.expect_err("no authority");
    assert!(error.contains("/none: "), "{error}");
}

#[tokio::test]
async fn passwords_are_sent_and_not_shown() {
    let port = serve(closed_api, None).await;
    let known = rapi::load(&format!("http://reader:secret1@127.0.0.1:{port}")).await;
    assert_eq!(known.expect("a cluster").cluster.nodes.len(), 6);
    let error =
        rapi::load(&format!("http://reader:wrong@127.0.0.1:{port}")).await.expect_err("wrong");
    let url = format!("http://127.0.0.1:{port}/2/groups?bulk=1");
    assert_eq!(error, format!("{url}: 401 Unauthorized: Unauthorized"));
}

#[tokio::test]
async fn what_goes_wrong_is_said_with_the_url() {
    let port = serve(nonsense, None).await;
    let error = rapi::load(&format!("127.0.0.1:{port}")).await.expect_err("nonsense");
    let url = format!("http://127.0.0.1:{port}/2/groups?bulk=1");
    let why = "line 1, column 3: malformed JSON: EOF while parsing a value";
    assert_eq!(error, format!("{url}: {why}"));
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = free.local_addr().expect("an address").port();
    drop(free);
    let error = rapi::load(&format!("127.0.0.1:{closed}")).await.expect_err("nobody there");
    assert!(
        error.contains(&format!("127.0.0.1:{closed}/2/groups?bulk=1: cannot connect: ")),
        "{error}"
    );
}

#[tokio::test]
async fn nodes_are_asked_what_they_do() {
    let port = serve(monitoring, None).await;
    let other = serve(nonsense, None).await;
    let (cx, err) = context();
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = free.local_addr().expect("an address").port();
    drop(free);
    let places = [port, closed, other].into_iter().enumerate();
    let places = places.map(|(at, port)| (NodeIdx::of(at), Place::plain("127.0.0.1", port)));
    let loads = super::monitoring::ask(&cx, places.clone(), Collector::Cpu).await;
    assert_eq!(loads.into_iter().collect::<Vec<_>>(), [(NodeIdx(0), Load::Node(1.9987))]);
    assert!(err.text().contains("cannot connect"), "{}", err.text());
    assert!(super::monitoring::ask(&cx, places, Collector::XenCpu).await.is_empty());
}

#[tokio::test]
async fn descriptions_and_files_are_sources() {
    let (cx, _) = context();
    let simulate = vec!["p,3,1t,64g,8".to_owned(), "a,2,1t,64g,8".to_owned()];
    let source = SourceOptions { simulate, ..SourceOptions::default() };
    let cluster = known(&cx, &source).await.expect("a cluster").cluster;
    assert_eq!((cluster.groups.len(), cluster.nodes[0].name.as_str()), (2, "node-01-001"));
    assert_eq!(cluster.nodes.len(), 5);
    let none = known(&cx, &SourceOptions::default()).await;
    assert_eq!(none, Err("No backend selected! Exiting.".into()));
}

/// A request has a cluster; what it asks for does not matter here.
#[tokio::test]
async fn requests_to_allocators_are_sources() {
    let (cx, _) = context();
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("request.json");
    let source = SourceOptions { request: Some(path.clone()), ..SourceOptions::default() };
    let recorded = include_str!("../../../../htools/fixtures/sources/request.json");
    std::fs::write(&path, recorded).expect("a file");
    let cluster = known(&cx, &source).await.expect("a cluster").cluster;
    assert_eq!((cluster.nodes.len(), cluster.instances.len()), (5, 3));
    std::fs::write(&path, "{").expect("a file");
    let error = known(&cx, &source).await.expect_err("half a request");
    assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
}

#[tokio::test]
async fn what_instances_use_is_read_from_files() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        Some(path)
    };
    let given = text::read(SAVED).expect("a cluster");
    let run = async |options: UtilisationOptions| {
        let (cx, err) = context();
        let mut cluster = given.clone();
        let ended = use_utilisation(&cx, &mut cluster, &options).await;
        let ended = ended.map_err(|failure| failure.text().unwrap_or_default());
        let cpu: Vec<f64> = cluster.instances.iter().map(|i| i.utilisation.cpu).collect();
        (ended, cpu, err.text())
    };
    let options = UtilisationOptions::default;
    let file = write("u", "inst1.example.org 0.5 1 1 1\n");
    let ran = run(UtilisationOptions { file: file.clone(), ..options() }).await;
    assert_eq!(ran, (Ok(()), vec![0.5, 1.0, 1.0], String::new()));
    let ran = run(UtilisationOptions { file, ignore: true, mond: true, ..options() }).await;
    assert_eq!(ran, (Ok(()), vec![0.0; 3], String::new()));
    let ran = run(UtilisationOptions { file: write("bad", "a 1\n"), ..options() }).await;
    let bad = directory.path().join("bad").display().to_string();
    let why = format!("Error: can't parse utilisation data: {bad}: line 1: Cannot parse line a 1");
    assert_eq!(ran.0, Err(why));
    let none = Some(directory.path().join("none"));
    let ran = run(UtilisationOptions { file: none, ..options() }).await;
    assert!(ran.0.expect_err("no file").contains("none: No such file"));

    let report = |node: &str, load: f64| {
        format!(
            r#"{{"node":"{node}.example.org","reports":[{{"name":"drbd"}},{{"name":"cpu-avg-load",
                    "data":{{"cpu_total":{load}}}}}]}}"#
        )
    };
    let all =
        format!("[{},{},{}]", report("node1", 3.0), report("node2", 4.0), report("node3", 0.0));
    let mond_data = write("mond", &all);
    let ran = run(UtilisationOptions { mond: true, mond_data, ..options() }).await;
    assert_eq!(ran, (Ok(()), vec![1.0, 2.0, 0.0], String::new()));
    let some = format!("[{}]", report("node1", 3.0));
    let mond_data = write("some", &some);
    let ignored = "Didn't receive an answer by all MonDs, cpu-avg-load's data will be ignored.\n";
    let missing = UtilisationOptions { mond: true, mond_data, ..options() };
    assert_eq!(run(missing.clone()).await, (Ok(()), vec![1.0; 3], ignored.to_owned()));
    let ran = run(UtilisationOptions { complete: true, ..missing }).await;
    assert_eq!(ran.0, Err("Error: Not all required data available".into()));
    let mond_data = write("malformed", "{");
    let ran = run(UtilisationOptions { mond: true, mond_data, ..options() }).await;
    let why = ran.0.expect_err("malformed");
    assert!(why.starts_with("Error: can't parse MonD data: ") && why.contains("line 1"), "{why}");
}
