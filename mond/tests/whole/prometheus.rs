//! What Prometheus makes of it: its own checker, its rules and their tests, and a real server with a real mond.
//! Debian's package `prometheus` has both programs; where it is missing these are left out, in the full run they are
//! demanded.

use crate::client::{ask, get};
use crate::daemon::{Daemon, command};
use crate::fakes::start;
use roost_mond::http::Limits;
use serde_json::Value;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

fn installed(program: &str) -> bool {
    ["/usr/bin", "/usr/local/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
}

fn ours(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn promtool(args: &[&str], stdin: &str) -> Output {
    let mut child = command("promtool")
        .args(args)
        .current_dir(ours("prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut pipe = child.stdin.take().expect("standard input");
    pipe.write_all(stdin.as_bytes()).expect("written");
    drop(pipe);
    child.wait_with_output().expect("promtool ends")
}

fn approves(args: &[&str], stdin: &str) {
    let output = promtool(args, stdin);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "promtool {args:?}: {said}\n{stdin}");
}

#[tokio::test]
async fn promtool_approves_where_there_is_one() {
    if installed("promtool") {
        check_all().await;
    }
}

#[tokio::test]
#[ignore = "needs Debian's package prometheus"]
async fn promtool_approves() {
    check_all().await;
}

async fn check_all() {
    let fakes = start(Limits::default(), None);
    approves(&["check", "metrics"], &get(fakes.address, "/metrics").await.body);
    let root = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(root.path(), &[]);
    approves(&["check", "metrics"], &get(daemon.address, "/metrics").await.body);
    approves(&["check", "rules", "alerts.yml"], "");
    approves(&["test", "rules", "alerts_test.yml"], "");
}

/// A Prometheus; it is killed when this is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// With our scrape configuration, more often and of this target, and our rules.
    fn start(dir: &Path, target: SocketAddr) -> Server {
        let nodes = dir.join("nodes.json");
        let targets = format!(r#"[{{"labels": {{"cluster": "c1"}}, "targets": ["{target}"]}}]"#);
        std::fs::write(&nodes, targets).unwrap();
        let scrape = std::fs::read_to_string(ours("prometheus/scrape.yml")).unwrap();
        let ours_is = "/etc/prometheus/ganeti-nodes.json";
        assert!(scrape.contains(ours_is) && scrape.contains("15s"));
        let scrape = scrape.replace(ours_is, nodes.to_str().unwrap()).replace("15s", "1s");
        let rules = ours("prometheus/alerts.yml");
        let config = format!(
            "global: {{evaluation_interval: 1s}}\nrule_files: ['{}']\n{scrape}",
            rules.display()
        );
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        approves(&["check", "config", file.to_str().unwrap()], "");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = command("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .expect("prometheus starts");
        Server { child, address }
    }

    async fn api(&self, path: &str) -> Value {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                // HTTP/1.0, so that the body is not in chunks.
                let request = format!("GET /api/v1/{path} HTTP/1.0\r\nHost: x\r\n\r\n");
                let answer = crate::client::send(self.address, request.as_bytes()).await;
                if answer.status() != 503 {
                    return answer.json();
                }
            }
            assert!(Instant::now() < end, "no Prometheus");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The series an expression has now.
    async fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.api(&format!("query?query={encoded}")).await;
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    async fn until_there_is(&self, expression: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.query(expression).await.is_empty() {
            assert!(Instant::now() < end, "nothing for {expression}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// What the dashboard shows, with its variables as "all".
fn dashboard() -> Vec<String> {
    let text = std::fs::read_to_string(ours("grafana-dashboard.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let plain = |expression: &str| {
        let all = expression.replace("$cluster", ".*").replace("$node", ".*");
        all.replace("$__rate_interval", "1m")
    };
    targets.map(|target| plain(target["expr"].as_str().unwrap())).collect()
}

/// The figures an expression is made of.
fn figures(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("roost_")).map(str::to_owned).collect()
}

#[tokio::test]
#[ignore = "needs Debian's package prometheus"]
async fn a_real_server_scrapes_a_real_mond_and_understands_rules_and_dashboard() {
    let root = tempfile::tempdir().unwrap();
    let plugins = root.path().join("etc/ganeti/mond/collectors.d");
    std::fs::create_dir_all(&plugins).unwrap();
    let plugin = plugins.join("raid");
    std::fs::write(&plugin, "#!/bin/sh\necho '{\"degraded\": 0}'\n").unwrap();
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::start(root.path(), &[]);
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), daemon.address);
    server.until_there_is("up{job=\"ganeti\",cluster=\"c1\",node=\"127.0.0.1\"} == 1").await;
    // Two samples and an average.
    server.until_there_is("rate(roost_mond_requests_total[1m])").await;
    server.until_there_is("roost_plugin_value{plugin=\"raid\",key=\"degraded\"} == 0").await;
    let rules = server.api("rules").await;
    let rules: Vec<Value> = rules["data"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect();
    assert!(rules.len() >= 15, "{}", rules.len());
    for rule in &rules {
        assert_ne!(rule["health"], "err", "{rule}");
    }
    // Not every machine has guests, mirrors and a master; but all of this is on every one.
    let always = [
        "roost_report_status",
        "roost_mond_",
        "roost_cpus",
        "roost_node_memory",
        "roost_node_filesystem",
        "roost_disk_",
        "roost_daemon_",
        "roost_plugin_",
    ];
    // The average over the processors needs a while.
    server.until_there_is("roost_cpus_busy").await;
    let mut with_data = 0;
    for expression in dashboard() {
        let found = server.query(&expression).await;
        with_data += usize::from(!found.is_empty());
        let here = figures(&expression)
            .iter()
            .all(|figure| always.iter().any(|one| figure.starts_with(one)));
        let filters = [">", "==", "<"].iter().any(|sign| expression.contains(&format!(" {sign} ")));
        assert!(!found.is_empty() || !here || filters, "nothing for {expression}");
    }
    assert!(with_data >= 12, "only {with_data} panels show something");
    // OpenMetrics is what it asked for, and it lost nothing.
    let scraped = server.query("scrape_samples_scraped").await;
    let accept = "Accept: application/openmetrics-text;version=1.0.0\r\n";
    let ours = ask(daemon.address, "GET", "/metrics", accept).await.body;
    let lines = ours.lines().filter(|line| !line.starts_with('#')).count();
    let scraped: usize = scraped[0]["value"][1].as_str().unwrap().parse().unwrap();
    assert!(scraped.abs_diff(lines) < 20, "{scraped} of {lines}");
}
