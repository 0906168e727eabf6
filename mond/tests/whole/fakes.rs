//! A mond in this process with collectors that do as they are told.

use roost_mond::collector::{About, Collected, Collector, Pending};
use roost_mond::helper::Helper;
use roost_mond::http::tls::Tls;
use roost_mond::http::{Limits, Listener, Site};
use roost_mond::metrics::Metrics;
use roost_mond::report::{Category, Code, Data, Health, Kind};
use roost_mond::schedule::{Schedule, Switch, Switches};
use roost_mond::world::World;
use roost_proto::error::Error;
use roost_proto::paths::Paths;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub const LOCAL: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

struct Fake {
    about: About,
    way: Way,
}

enum Way {
    Good,
    Judges(Code),
    Fails,
    Hangs,
}

impl Collector for Fake {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn collect<'a>(&'a self, _world: &'a World) -> Pending<'a> {
        Box::pin(async {
            let mut metrics = Metrics::default();
            metrics.gauge(
                "roost_fake_size_bytes",
                "Of a fake.",
                &[("name", &self.about.name)],
                7.0,
            );
            metrics.counter("roost_fake_errors", "Of a fake.", &[("name", &self.about.name)], 2.0);
            let data = match self.way {
                Way::Good => Data::of(&json!([1, {"a": "ü"}]))?,
                Way::Judges(code) => {
                    let status = Health::new(code, "\n3: broken");
                    Data::of(&json!({ "status": status }))?
                }
                Way::Fails => return Err(Error::environment("there is no such file")),
                Way::Hangs => std::future::pending().await,
            };
            Ok(Collected { data, metrics })
        })
    }
}

/// Collectors of all kinds.
pub fn collectors() -> Vec<Arc<dyn Collector>> {
    let about = |name, category, kind| About {
        // Long enough for all that is good on a machine that is busy.
        deadline: Duration::from_secs(2),
        ..About::built_in(name, category, kind)
    };
    let fake = |about, way| Arc::new(Fake { about, way }) as Arc<dyn Collector>;
    vec![
        fake(about("good", Category::Default, Kind::Performance), Way::Good),
        fake(about("judge", Category::Storage, Kind::Status), Way::Judges(Code::Bad)),
        fake(about("fails", Category::Instance, Kind::Performance), Way::Fails),
        fake(about("hangs", Category::Daemon, Kind::Status), Way::Hangs),
        fake(about("switched-off", Category::Storage, Kind::Performance), Way::Good),
    ]
}

/// A mond; it ends when this is dropped.
pub struct Mond {
    pub address: SocketAddr,
    pub settings: watch::Sender<bool>,
    pub stop: CancellationToken,
    pub ended: tokio::task::JoinHandle<()>,
}

impl Drop for Mond {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// With all of [`collectors`] but one that the cluster does not want.
pub fn start(limits: Limits, tls: Option<Tls>) -> Mond {
    let world = World::new(Paths::new(None), Helper::default());
    let schedule = Schedule::new(world, collectors());
    let off = Switch { active: false, interval: None };
    schedule.set(&Switches::from([("switched-off".to_owned(), off)]), &[]);
    let settings = watch::Sender::new(true);
    serve(schedule, settings, limits, tls)
}

pub fn serve(
    schedule: Schedule,
    settings: watch::Sender<bool>,
    limits: Limits,
    tls: Option<Tls>,
) -> Mond {
    let listener = Listener::bind(LOCAL, 0, tls, limits).expect("bound");
    let address = listener.address().expect("address");
    let site = Arc::new(Site::new(schedule, settings.subscribe()));
    let stop = CancellationToken::new();
    let ended = tokio::spawn(listener.serve(site, stop.clone()));
    Mond { address, settings, stop, ended }
}
