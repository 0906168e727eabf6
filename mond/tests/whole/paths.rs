//! Every path with its status, body and type, beside collectors that fail and hang.

use crate::client::{Answer, ask, get, send};
use crate::fakes::start;
use roost_mond::http::Limits;
use serde_json::json;

const NO_REPORT: &str = "Unable to produce a report for the requested resource";
const NOTHING: &str = "Resource not found";

#[tokio::test]
async fn every_path_answers_as_the_reference_does() {
    let mond = start(Limits::default(), None);
    let list = r#"[["good","default",0],["judge","storage",1],["fails","instance",0],["hangs","daemon",1]]"#;
    for (path, body) in [
        ("/", "[1]"),
        ("/?verbose=1", "[1]"),
        ("/1", "null"),
        ("/1/", "null"),
        ("/1/list/collectors", list),
        ("/1/list/collectors/", list),
        ("/1/list/collectors?x=y", list),
    ] {
        let answer = get(mond.address, path).await;
        assert_eq!(
            (answer.first.as_str(), answer.body.as_str()),
            ("HTTP/1.1 200 OK", body),
            "{path}"
        );
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
    for (path, body) in [
        ("/2", NOTHING),
        ("/foo", NOTHING),
        ("/1/list", NOTHING),
        ("/1/list/x", NOTHING),
        ("//", NOTHING),
        ("/1/report", NO_REPORT),
        ("/1/report/", NO_REPORT),
        ("/1/report/good", NO_REPORT),
        ("/1/report/collector/good", NO_REPORT),
        ("/1/report/storage/good", NO_REPORT),
        ("/1/report/default/nobody", NO_REPORT),
        // The cluster has switched it off.
        ("/1/report/storage/switched-off", NO_REPORT),
    ] {
        let answer = get(mond.address, path).await;
        let expected = ("HTTP/1.1 404 Not found", body);
        assert_eq!((answer.first.as_str(), answer.body.as_str()), expected, "{path}");
        assert!(answer.header("content-type").unwrap().starts_with("text/plain"), "{path}");
    }
}

#[tokio::test]
async fn reports_are_the_references_and_further_parts_are_ignored() {
    let mond = start(Limits::default(), None);
    for path in
        ["/1/report/default/good", "/1/report/default/good/", "/1/report/default/good/x?verbose=1"]
    {
        let answer = get(mond.address, path).await;
        let expected = r#"{"name":"good","version":"B","format_version":1,"timestamp":"#;
        assert!(answer.body.starts_with(expected), "{}", answer.body);
        assert!(
            answer.body.ends_with(r#","category":null,"kind":0,"data":[1,{"a":"ü"}]}"#),
            "{}",
            answer.body
        );
        assert_eq!(answer.json()["timestamp"].as_u64().unwrap() % 1000, 0);
    }
    let judge = get(mond.address, "/1/report/storage/judge").await.json();
    assert_eq!((&judge["category"], &judge["kind"]), (&json!("storage"), &json!(1)));
    assert_eq!(judge["data"], json!({"status": {"code": 4, "message": "\n3: broken"}}));
}

#[tokio::test]
async fn one_that_fails_or_hangs_does_not_take_the_others_with_it() {
    let mond = start(Limits::default(), None);
    let failed = get(mond.address, "/1/report/instance/fails").await;
    assert_eq!(failed.status(), 500);
    assert_eq!(failed.body, "Collector fails has no report: there is no such file");
    let (hangs, good) = tokio::join!(
        get(mond.address, "/1/report/daemon/hangs"),
        get(mond.address, "/1/report/default/good"),
    );
    assert_eq!((hangs.status(), good.status()), (500, 200));
    assert_eq!(hangs.body, "Collector hangs has no report: nothing came within 2 s");
    for path in ["/1/report/all", "/1/report/all/", "/1/report/all/and/more"] {
        let all = get(mond.address, path).await;
        assert_eq!(all.status(), 200);
        let all = all.json();
        let names: Vec<_> = all.as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["good", "judge", "fails", "hangs"]);
        assert_eq!(all[0]["data"], json!([1, {"a": "ü"}]));
        assert_eq!(all[2]["data"], json!({"error": "there is no such file"}));
        let why = "nothing came within 2 s";
        assert_eq!(all[3]["data"], json!({"status": {"code": 2, "message": why}, "error": why}));
    }
}

#[tokio::test]
async fn head_has_the_heads_of_get_and_nothing_else() {
    let mond = start(Limits::default(), None);
    let heads = |answer: &Answer| {
        let mut all = answer.headers.clone();
        all.retain(|(name, _)| name != "date");
        (answer.first.clone(), all)
    };
    for path in ["/", "/1/list/collectors", "/1/report/default/good", "/1/report/all", "/x"] {
        let (head, get) =
            (ask(mond.address, "HEAD", path, "").await, get(mond.address, path).await);
        assert_eq!(heads(&head), heads(&get), "{path}");
        assert_eq!(head.body, "", "{path}");
        let length = get.header("content-length").unwrap();
        assert_eq!(length, get.body.len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_told_what_is_allowed_and_their_bodies_not_read() {
    let mond = start(Limits::default(), None);
    for (method, more) in [
        ("POST", "Content-Length: 1000000\r\n"),
        ("PUT", "Transfer-Encoding: chunked\r\n"),
        ("DELETE", ""),
        ("OPTIONS", ""),
        ("PATCH", "Content-Length: 2\r\n\r\n{}"),
    ] {
        let answer = ask(mond.address, method, "/1/report/all", more).await;
        assert_eq!((answer.status(), answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert_eq!(answer.header("connection"), Some("close"), "{method}");
    }
}

#[tokio::test]
async fn a_connection_takes_many_requests_and_old_clients_are_served() {
    let mond = start(Limits::default(), None);
    let two =
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = send(mond.address, two).await;
    assert!(answer.body.starts_with("[1]HTTP/1.1 200 OK"), "{answer:?}");
    assert!(answer.body.ends_with("\r\n\r\nnull"), "{answer:?}");
    let answer = send(mond.address, b"GET /1/report/all HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status(), answer.json().as_array().unwrap().len()), (200, 4));
    assert_eq!(send(mond.address, b"nonsense\r\n\r\n").await.status(), 400);
}

#[tokio::test]
async fn figures_come_in_the_format_that_is_asked_for() {
    let mond = start(Limits::default(), None);
    let text = get(mond.address, "/metrics").await;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "# TYPE roost_fake_errors_total counter",
        "roost_fake_errors_total{name=\"good\"} 2",
        "roost_fake_size_bytes{name=\"judge\"} 7",
        "roost_report_status{collector=\"judge\",category=\"storage\"} 4",
        "roost_report_status{collector=\"hangs\",category=\"daemon\"} 2",
        "roost_mond_collector_up{collector=\"good\",category=\"default\"} 1",
        "roost_mond_collector_up{collector=\"fails\",category=\"instance\"} 0",
        "roost_mond_settings_known 1",
        "roost_mond_requests_total{code=\"404\"} 0",
    ] {
        assert!(text.body.lines().any(|one| one == line), "{line}\n{}", text.body);
    }
    assert_eq!(text.body.matches("# TYPE roost_fake_size_bytes ").count(), 1);
    get(mond.address, "/nothing").await;
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let open = ask(mond.address, "GET", "/metrics", accept).await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), Some(kind));
    assert!(open.body.ends_with("\n# EOF\n") && open.body.matches("# EOF").count() == 1);
    assert!(open.body.contains("# TYPE roost_fake_errors counter\n"), "{}", open.body);
    assert!(open.body.contains("roost_mond_requests_total{code=\"404\"} 1\n"), "{}", open.body);
}

#[tokio::test]
async fn life_and_readiness_are_told_apart() {
    let mond = start(Limits::default(), None);
    mond.settings.send_replace(false);
    let alive = get(mond.address, "/healthz").await;
    assert_eq!((alive.status(), alive.body.as_str()), (200, "ok"));
    for path in ["/healthz/ready", "/healthz?ready"] {
        mond.settings.send_replace(false);
        assert_eq!(get(mond.address, path).await.status(), 503, "{path}");
        mond.settings.send_replace(true);
        assert_eq!(get(mond.address, path).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn reports_wait_for_the_clusters_wishes_but_not_for_ever() {
    let mond = start(Limits::default(), None);
    mond.settings.send_replace(false);
    let answer = tokio::time::timeout(std::time::Duration::from_secs(60), get(mond.address, "/1"));
    assert_eq!(answer.await.expect("an answer").status(), 200);
}
