//! What a client may take: connections, time, lengths.

use crate::client::{Answer, get, send};
use crate::fakes::start;
use roost_mond::http::Limits;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn more_connections_than_there_is_room_for_are_turned_away_and_room_comes_back() {
    let limits = Limits { connections: 3, per_address: 3, ..Limits::default() };
    let mond = start(limits, None);
    let mut held = vec![];
    for _ in 0..3 {
        let mut stream = TcpStream::connect(mond.address).await.unwrap();
        // Answered: it has its place.
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut some = [0; 4096];
        assert!(stream.read(&mut some).await.unwrap() > 0);
        held.push(stream);
    }
    let mut extra = TcpStream::connect(mond.address).await.unwrap();
    let mut all = vec![];
    extra.read_to_end(&mut all).await.unwrap();
    let answer = Answer::parse(&all);
    assert_eq!((answer.status(), answer.body.as_str()), (503, "Too many connections\n"));
    assert_eq!(answer.header("content-length"), Some("21"));
    held.clear();
    // Its places come back when mond has seen that they are gone.
    while get(mond.address, "/").await.status() != 200 {}
}

#[tokio::test]
async fn who_does_not_finish_a_head_is_cut_off() {
    let limits = Limits { head: Duration::from_millis(300), ..Limits::default() };
    let mond = start(limits, None);
    for begun in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut stream = TcpStream::connect(mond.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut all = vec![];
        let end = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut all));
        let _ = end.await.expect("an end");
        assert!(!Answer::parse(&all).first.contains("200"), "{begun:?}");
    }
    // One that is idle between two requests, too.
    let answer = send(mond.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = tokio::time::timeout(Duration::from_secs(60), answer).await.expect("an end");
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn heads_that_are_too_long_are_refused() {
    let mond = start(Limits::default(), None);
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(40_000));
    assert_eq!(send(mond.address, long.as_bytes()).await.status(), 431);
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(200));
    assert_eq!(send(mond.address, many.as_bytes()).await.status(), 431);
    assert_eq!(get(mond.address, "/").await.status(), 200);
}

#[tokio::test]
async fn told_to_stop_it_closes_what_is_idle_and_ends() {
    let mut mond = start(Limits::default(), None);
    let mut idle = TcpStream::connect(mond.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut some = [0; 4096];
    assert!(idle.read(&mut some).await.unwrap() > 0);
    mond.stop.cancel();
    (&mut mond.ended).await.unwrap();
    assert_eq!(idle.read(&mut some).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(mond.address).await.is_err());
}
