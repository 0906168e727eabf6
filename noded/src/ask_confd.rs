//! Who is the master, and what is this node? Asked of confd once at start, and logged: for whoever wonders later why
//! a node that came back thought what it thought.
//!
//! Nothing is decided by it. Ganeti's watcher stops all guests of a node that hears that it is offline; one wrong
//! answer must not do that here. Whom noded obeys is the fence's business.

use crate::ssconf;
use roost_confd::client::{AskError, Client, Told};
use roost_confd::wire::Role;
use roost_proto::paths::Paths;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Nobody who starts or stops a node waits for this, but a log line of minutes ago helps nobody either.
const DEADLINE: Duration = Duration::from_secs(5);

/// What is said in the log.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Usual(String),
    Odd(String),
}

/// Asks in the background. `me`: this node's name.
pub fn start(paths: &Paths, me: &str, stop: CancellationToken) {
    let client = match Client::of_cluster(paths) {
        Ok(client) => client.timeout(DEADLINE),
        Err(error) => {
            tracing::info!("confd is not asked who the master is: {error}");
            return;
        }
    };
    let known = ssconf::read(paths, "master_node").unwrap_or_default();
    let me = me.to_owned();
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let (master, role) = tokio::join!(client.cluster_master(), client.node_role(&me));
        for finding in findings(&me, &known, master, role) {
            match finding {
                Finding::Usual(text) => tracing::info!("{text}"),
                Finding::Odd(text) => tracing::warn!("{text}"),
            }
        }
    }));
}

/// What the answers mean for a node that has this master's name in its files.
fn findings(
    me: &str,
    known: &str,
    master: Result<Told<String>, AskError>,
    role: Result<Told<Role>, AskError>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    match &master {
        Ok(told) if told.value == known => found.push(Finding::Usual(format!(
            "confd at {} says: {} is the master (serial {}; {} of {} have answered)",
            told.from, told.value, told.serial, told.answered, told.asked
        ))),
        Ok(told) => found.push(Finding::Odd(format!(
            "confd at {} says that {} is the master (serial {}; {} of {} have answered), but this node's ssconf, \
             which has no serial, says '{known}'; noded obeys whoever the fence lets through",
            told.from, told.value, told.serial, told.answered, told.asked
        ))),
        // At the start of a whole cluster noded is the first everywhere.
        Err(error) => {
            found.push(Finding::Usual(format!("confd was asked who the master is: {error}")));
        }
    }
    match role {
        Ok(told) => {
            let (from, serial) = (told.from, told.serial);
            found.push(match told.value {
                Role::Offline => Finding::Odd(format!(
                    "confd at {from} says that this node, {me}, is marked offline (serial {serial}): the master does \
                     not use it; nothing here is stopped. 'gnt-node modify --offline no {me}' takes it back"
                )),
                role => Finding::Usual(format!(
                    "confd at {from} says: this node, {me}, is {role:?} (serial {serial})"
                )),
            });
            if !told.consistent {
                found.push(Finding::Odd(format!(
                    "not all candidates with serial {serial} agree on what this node is"
                )));
            }
        }
        Err(error) if error.is_unknown() => found.push(Finding::Odd(format!(
            "the cluster does not know this node, {me}: {error}. Nothing here is stopped; was it removed while it was \
             away?"
        ))),
        // It was said above that nobody answers.
        Err(error) if error.is_silence() && master.is_err() => {}
        Err(error) => {
            found.push(Finding::Usual(format!("confd was asked what this node is: {error}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_confd::client::Ignored;

    fn told<T>(value: T, serial: u64) -> Told<T> {
        Told {
            value,
            serial,
            from: "192.0.2.1".parse().expect("address"),
            asked: 3,
            answered: 2,
            consistent: true,
            ignored: Ignored::default(),
        }
    }

    fn odd(findings: &[Finding]) -> Vec<&str> {
        let odd = findings.iter().filter_map(|finding| match finding {
            Finding::Odd(text) => Some(text.as_str()),
            Finding::Usual(_) => None,
        });
        odd.collect()
    }

    fn silence() -> AskError {
        AskError::Silent {
            asked: vec!["192.0.2.1".parse().expect("address")],
            port: 1814,
            waited: DEADLINE,
            ignored: Ignored::default(),
        }
    }

    #[test]
    fn what_fits_is_told_without_alarm() {
        let master = || Ok(told("m".to_owned(), 7));
        let found = findings("n1", "m", master(), Ok(told(Role::Candidate, 7)));
        assert!(odd(&found).is_empty(), "{found:?}");
        assert_eq!(found.len(), 2);
        // A cluster that starts as a whole has no confd yet: one line, no warning.
        let found = findings("n1", "m", Err(silence()), Err(silence()));
        assert!(odd(&found).is_empty() && found.len() == 1, "{found:?}");
    }

    #[test]
    fn what_does_not_fit_is_a_warning() {
        let found = findings("n1", "old", Ok(told("new".into(), 9)), Ok(told(Role::Regular, 9)));
        let odd_ones = odd(&found);
        assert_eq!(odd_ones.len(), 1);
        for word in ["new is the master", "serial 9", "'old'"] {
            assert!(odd_ones[0].contains(word), "{odd_ones:?}");
        }
        let found = findings("n1", "m", Ok(told("m".into(), 9)), Ok(told(Role::Offline, 9)));
        assert!(odd(&found)[0].contains("marked offline (serial 9)"), "{found:?}");
        let unknown = AskError::Said {
            from: "192.0.2.1".parse().expect("address"),
            sentence: "… ECodeNoEnt, error details:\nNode name n1 not found".into(),
        };
        let found = findings("n1", "m", Ok(told("m".into(), 9)), Err(unknown));
        assert!(odd(&found)[0].contains("does not know this node, n1"), "{found:?}");
        let mut differ = told(Role::Regular, 9);
        differ.consistent = false;
        let found = findings("n1", "m", Ok(told("m".into(), 9)), Ok(differ));
        assert!(odd(&found)[0].contains("serial 9"), "{found:?}");
    }

    #[tokio::test]
    async fn a_machine_without_a_cluster_asks_nobody() {
        let dir = tempfile::tempdir().expect("directory");
        start(&Paths::new(Some(dir.path().to_owned())), "n1", CancellationToken::new());
    }
}
