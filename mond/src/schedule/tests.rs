//! Collectors that work, fail, hang and break down beside each other.

use super::*;
use crate::collector::{About, Collected, Pending};
use crate::helper::Helper;
use crate::report::{Category, Data, Kind};
use roost_proto::error::Error;
use roost_proto::paths::Paths;
use std::sync::atomic::AtomicUsize;

/// How a collector behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Good,
    Slow(Duration),
    Fails,
    Hangs,
    Panics,
    /// The first time only.
    GoodOnce,
}

#[derive(Debug)]
struct Fake {
    about: About,
    way: Way,
    keeps: bool,
    runs: Arc<AtomicUsize>,
}

impl Fake {
    fn new(name: &'static str, way: Way) -> Fake {
        let about = About::built_in(name, Category::Storage, Kind::Performance);
        Fake { about, way, keeps: false, runs: Arc::default() }
    }

    fn background(name: &'static str, way: Way, interval: Duration) -> Fake {
        let mut fake = Fake::new(name, way);
        fake.about.sampling = Sampling::Background;
        fake.about.interval = interval;
        fake
    }
}

impl Collector for Fake {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn keeps_last(&self) -> bool {
        self.keeps
    }

    fn collect<'a>(&'a self, _world: &'a World) -> Pending<'a> {
        Box::pin(async {
            let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
            let mut metrics = Metrics::default();
            metrics.gauge("roost_fake_runs", "Runs.", &[("name", &self.about.name)], run as f64);
            match self.way {
                Way::Fails => return Err(Error::environment("out of order")),
                Way::GoodOnce if run > 1 => return Err(Error::environment("only once")),
                Way::Hangs => std::future::pending().await,
                Way::Panics => panic!("as it should"),
                Way::Slow(time) => tokio::time::sleep(time).await,
                Way::Good | Way::GoodOnce => {}
            }
            Ok(Collected { data: Data::of(&serde_json::json!({"run": run}))?, metrics })
        })
    }
}

fn schedule(fakes: Vec<Fake>) -> Schedule {
    let world = World::new(Paths::new(None), Helper::default());
    let schedule = Schedule::new(world, fakes.into_iter().map(|f| Arc::new(f) as _).collect());
    schedule.set(&Switches::new(), &[]);
    schedule
}

async fn one(schedule: &Schedule, name: &str) -> Result<String, String> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let outcome = schedule.report("storage", name).await.unwrap();
    outcome.alone.as_ref().map(text).map_err(text)
}

async fn run(schedule: &Schedule, name: &str) -> u64 {
    let json: serde_json::Value =
        serde_json::from_str(&one(schedule, name).await.unwrap()).unwrap();
    json["data"]["run"].as_u64().unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_fails_hangs_or_breaks_down_does_so_alone() {
    let fakes = [Way::Good, Way::Fails, Way::Hangs, Way::Panics];
    let names = ["good", "fails", "hangs", "panics"];
    let schedule =
        schedule(names.iter().zip(fakes).map(|(name, way)| Fake::new(name, way)).collect());
    let begun = tokio::time::Instant::now();
    assert_eq!(run(&schedule, "good").await, 1);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let error = one(&schedule, "fails").await.unwrap_err();
    assert_eq!(error, "Collector fails has no report: out of order");
    assert!(one(&schedule, "panics").await.unwrap_err().contains("broke down"));
    let all = schedule.all().await;
    // The deadline of the one that hangs.
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    let all: serde_json::Value = serde_json::from_slice(&all).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 4);
    assert_eq!(all[1]["data"]["error"], "out of order");
    assert_eq!(all[2]["data"]["error"], "nothing came within 5 s");
    assert_eq!(all[2]["name"], "hangs");
    // Its error is an outcome like any other: the next does not wait.
    tokio::time::advance(Duration::from_secs(2)).await;
    let again = tokio::time::Instant::now();
    schedule.all().await;
    assert_eq!(again.elapsed(), Duration::ZERO);
    let mut metrics = Metrics::default();
    schedule.describe(&mut metrics);
    let up: Vec<f64> = metrics.families[0].samples.iter().map(|sample| sample.value).collect();
    assert_eq!(up, [1.0, 0.0, 0.0, 0.0]);
}

#[tokio::test(start_paused = true)]
async fn many_that_ask_are_one_run_and_an_old_report_is_served_while_a_new_one_is_made() {
    let fake = Fake::new("x", Way::Slow(Duration::from_millis(300)));
    let runs = Arc::clone(&fake.runs);
    let schedule = schedule(vec![fake]);
    let many = (0..20).map(|_| {
        let schedule = schedule.clone();
        tokio::spawn(async move { run(&schedule, "x").await })
    });
    for one in many.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), 1);
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    // Younger than a second: as it is. Younger than the interval: as it is, and a new one is made.
    tokio::time::advance(Duration::from_millis(900)).await;
    assert_eq!(run(&schedule, "x").await, 1);
    tokio::time::advance(Duration::from_millis(200)).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(run(&schedule, "x").await, 1);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(301)).await;
    assert_eq!(run(&schedule, "x").await, 2);
    // Older than the interval: waited for.
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(run(&schedule, "x").await, 3);
}

#[tokio::test(start_paused = true)]
async fn in_the_background_it_is_sampled_at_its_interval() {
    let fake = Fake::background("x", Way::Good, Duration::from_secs(5));
    let runs = Arc::clone(&fake.runs);
    let schedule = schedule(vec![fake]);
    assert_eq!(run(&schedule, "x").await, 1);
    tokio::time::sleep(Duration::from_secs(51)).await;
    assert_eq!(run(&schedule, "x").await, 11);
    // The cluster wants it more often, then not at all.
    let switch = |active, millis| {
        let interval = Some(Duration::from_millis(millis));
        Switches::from([("x".to_owned(), Switch { active, interval })])
    };
    schedule.set(&switch(true, 1), &[]);
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 22);
    assert_eq!(schedule.list(), r#"[["x","storage",0]]"#.as_bytes());
    schedule.set(&switch(false, 1), &[]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 22);
    assert_eq!(schedule.list(), "[]".as_bytes());
    assert!(schedule.report("storage", "x").await.is_none());
    assert_eq!(schedule.all().await, "[]".as_bytes());
}

#[tokio::test(start_paused = true)]
async fn the_last_good_figures_stay_for_a_while() {
    let mut fake = Fake::background("x", Way::GoodOnce, Duration::from_secs(5));
    fake.keeps = true;
    let schedule = schedule(vec![fake]);
    assert_eq!(run(&schedule, "x").await, 1);
    tokio::time::sleep(Duration::from_secs(31)).await;
    let report = one(&schedule, "x").await.unwrap();
    assert!(
        report.contains(r#""run":1,"stale_seconds":30,"stale_reason":"only once""#),
        "{report}"
    );
    let text = schedule.metrics(Format::Text).await;
    assert!(std::str::from_utf8(&text).unwrap().contains("roost_fake_runs{name=\"x\"} 1\n"));
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert!(schedule.metrics(Format::Text).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_served_is_written_once() {
    let schedule = schedule(vec![Fake::new("x", Way::Good), Fake::new("y", Way::Good)]);
    let (one, two) = (schedule.all().await, schedule.all().await);
    assert_eq!(one.as_ptr(), two.as_ptr());
    assert_eq!(schedule.report("default", "x").await.map(|_| ()), None);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_ne!(schedule.all().await, one);
}
