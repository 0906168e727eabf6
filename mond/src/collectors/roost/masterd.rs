//! What masterd of this machine says of itself, and whether anything can be expected of it.

use crate::clock;
use crate::report::{Code, Health};
use crate::world::World;
use roost_proto::error::{Error, Result};
use roost_proto::masterd_status::{EVERY, MasterdStatus};
use roost_proto::paths::Paths;
use std::io::ErrorKind;

/// A file that is older is not to be believed, seconds: six of masterd's rounds.
pub const STALE: f64 = 30.0;
/// The file is small; something else is not read.
const LONGEST: u64 = 1 << 20;

/// What can be said of masterd.
#[derive(Clone, Debug, PartialEq)]
pub enum Masterd {
    /// It wrote this a moment ago.
    Says(Box<MasterdStatus>),
    /// It has not written for so many seconds.
    Silent(f64),
    /// There is no file: it was stopped, or has not run since this machine was started.
    Absent,
}

/// Reads the file. Errors: it cannot be read, or is something else.
pub fn look(paths: &Paths) -> Result<Masterd> {
    let path = paths.masterd_status();
    let wrong = |why: String| Error::environment(format!("{}: {why}", path.display()));
    let length = match path.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Masterd::Absent),
        metadata => metadata.map_err(|e| wrong(e.to_string()))?.len(),
    };
    if length > LONGEST {
        return Err(wrong("it is larger than masterd writes it".into()));
    }
    let text = std::fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
    parse(&text, clock::now().as_secs_f64()).map_err(wrong)
}

/// Of the file's content at a time, seconds since 1970. Errors: what is wrong with it.
pub fn parse(text: &str, now: f64) -> std::result::Result<Masterd, String> {
    let status: MasterdStatus = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let age = now - status.written;
    // One from the future was written before the clock was set back: it is as good as its next round.
    Ok(match age > STALE {
        true => Masterd::Silent(age),
        false => Masterd::Says(Box::new(status)),
    })
}

/// Whether this node is a master candidate: the list that every node has says so, or masterd does.
pub fn is_candidate(world: &World) -> bool {
    let cluster = world.cluster();
    let Some(name) = name(world, cluster.node.as_deref()) else { return false };
    listed(world.paths(), "master_candidates", &name)
        || matches!(look(world.paths()), Ok(Masterd::Says(status)) if status.candidate)
}

/// Whether this node is the master.
pub fn is_master(world: &World) -> bool {
    let cluster = world.cluster();
    name(world, cluster.node.as_deref()).is_some_and(|n| listed(world.paths(), "master_node", &n))
}

fn listed(paths: &Paths, list: &str, name: &str) -> bool {
    let text = std::fs::read_to_string(paths.ssconf(list)).unwrap_or_default();
    text.lines().any(|line| line.trim() == name)
}

/// This node's name: what confd said, or what it was told when it joined.
fn name(world: &World, heard: Option<&str>) -> Option<String> {
    if let Some(name) = heard {
        return Some(name.to_owned());
    }
    let text = std::fs::read(world.paths().identity()).ok()?;
    let identity: serde_json::Value = serde_json::from_slice(&text).ok()?;
    Some(identity.get("name")?.as_str()?.to_owned())
}

/// The judgement where masterd says nothing. That it does not run is told by `daemons`.
pub fn unheard(masterd: &Masterd) -> Option<Health> {
    let log = "see its log, and 'daemon-util status masterd'";
    let every = EVERY.as_secs();
    match masterd {
        Masterd::Says(_) => None,
        Masterd::Silent(age) => Some(Health::new(
            Code::Unknown,
            format!("masterd has not reported for {age:.0} s, and should every {every} s: {log}"),
        )),
        Masterd::Absent => Some(Health::new(
            Code::Unknown,
            format!("masterd has not reported since it was stopped or this node started: {log}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::ClusterView;
    use proptest::prelude::*;

    #[test]
    fn a_file_is_believed_for_half_a_minute() {
        let text = r#"{"written": 1000.0, "leads": true}"#;
        assert!(matches!(parse(text, 1030.0), Ok(Masterd::Says(status)) if status.leads));
        assert_eq!(parse(text, 1031.0), Ok(Masterd::Silent(31.0)));
        assert!(matches!(parse(text, 900.0), Ok(Masterd::Says(_))), "the clock was set back");
        assert!(parse("{", 0.0).is_err());
        let health = unheard(&Masterd::Silent(31.4)).unwrap();
        assert_eq!(health.code, Code::Unknown);
        assert!(health.message.starts_with("masterd has not reported for 31 s"), "{health:?}");
        assert_eq!(unheard(&Masterd::Absent).unwrap().code, Code::Unknown);
    }

    #[test]
    fn candidates_are_known_without_masterd() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(dir.path().into()));
        let world = World::new(paths.clone(), Default::default());
        assert!(!is_candidate(&world), "no cluster");
        std::fs::create_dir_all(paths.data_dir()).unwrap();
        std::fs::write(paths.ssconf("master_candidates"), "node1.lab\nnode2.lab\n").unwrap();
        std::fs::write(paths.ssconf("master_node"), "node1.lab\n").unwrap();
        std::fs::write(paths.identity(), r#"{"name": "node2.lab"}"#).unwrap();
        assert!(is_candidate(&world) && !is_master(&world));
        let view = |name: &str| ClusterView { node: Some(name.into()), ..ClusterView::default() };
        world.set_cluster(view("node1.lab"));
        assert!(is_candidate(&world) && is_master(&world));
        world.set_cluster(view("node"));
        assert!(!is_candidate(&world));
        assert_eq!(look(&paths).unwrap(), Masterd::Absent);
    }

    proptest! {
        #[test]
        fn no_content_makes_it_panic(text in ".{0,100}", now in any::<f64>()) {
            let _ = parse(&text, now);
            let _ = parse(&format!("{{\"written\": {text}}}"), now);
        }
    }
}
