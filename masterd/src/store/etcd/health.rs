//! How etcd's members are, each asked by itself.

use super::connection::{Etcd, Failure};
use super::rpc::RangeRequest;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long a member may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two looks at all members.
const LOOK: Duration = Duration::from_secs(3);

/// One member, as it answered a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub endpoint: String,
    /// Why it is of no use; `None`: it is.
    pub trouble: Option<String>,
}

impl Etcd {
    /// Looks after the members until `stop`, so that [`Etcd::known_members`] answers at once.
    pub async fn watch_members(self, stop: CancellationToken) {
        let watch = async {
            loop {
                let members = self.members().await;
                let known = self.known_members();
                let (before, now) = (complaint(&known), complaint(&members));
                match &now {
                    Some(now) if before.is_none() => tracing::warn!("{now}"),
                    None if before.is_some() => tracing::info!("all members of etcd answer"),
                    _ => {}
                }
                self.note_members(members);
                sleep(LOOK).await;
            }
        };
        stop.run_until_cancelled(watch).await;
    }

    /// Asks every member for something that it can answer only with a majority behind it.
    pub async fn members(&self) -> Vec<Member> {
        let mut asking = JoinSet::new();
        for (n, (endpoint, member)) in self.each().into_iter().enumerate() {
            asking.spawn(async move {
                let request = RangeRequest { key: b"/roost/".to_vec(), ..RangeRequest::default() };
                let trouble = match member.range_within(ANSWER, request).await {
                    // It was asked whether it may be, so there is a majority.
                    Ok(_) | Err(Failure::Refused { .. }) => None,
                    Err(Failure::Unavailable(detail)) => Some(match member.answers().await {
                        true => "it has no majority of members with it".to_owned(),
                        false => brief(&detail, &endpoint),
                    }),
                };
                (n, Member { endpoint, trouble })
            });
        }
        let mut members = asking.join_all().await;
        members.sort_by_key(|(n, _)| *n);
        members.into_iter().map(|(_, member)| member).collect()
    }
}

/// Without the endpoint, which is said anyway.
fn brief(detail: &str, endpoint: &str) -> String {
    detail.trim_start_matches(endpoint).trim_start_matches(": ").to_owned()
}

/// What is wrong with the members, for people; `None`: nothing.
pub fn complaint(members: &[Member]) -> Option<String> {
    let ill: Vec<String> = (members.iter())
        .filter_map(|m| Some(format!("{} ({})", m.endpoint, m.trouble.as_ref()?)))
        .collect();
    if ill.is_empty() {
        return None;
    }
    let (all, needed) = (members.len(), members.len() / 2 + 1);
    let left = all - ill.len();
    let what = match left >= needed {
        true if left == needed => "no other may fail",
        true => "the others are enough",
        false => "nothing can be changed until there is a majority again",
    };
    Some(format!(
        "Of etcd's {all} members, which keep the cluster's state, {} of no use: {}. {needed} are \
         needed: {what}. Start etcd there, or mend the network; 'etcdctl endpoint health' looks again",
        if ill.len() == 1 { "1 is".to_owned() } else { format!("{} are", ill.len()) },
        ill.join(", "),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Server;
    use super::*;
    use nix::sys::signal::Signal;

    fn member(n: u8, trouble: Option<&str>) -> Member {
        Member { endpoint: format!("https://etcd{n}:2379"), trouble: trouble.map(str::to_owned) }
    }

    #[test]
    fn a_complaint_names_who_is_missing_and_what_that_means() {
        let (good, bad) = (|n| member(n, None), |n| member(n, Some("refused")));
        assert_eq!(complaint(&[good(1), good(2), good(3)]), None);
        let text = complaint(&[good(1), bad(2), good(3)]).unwrap();
        assert!(text.contains("1 is of no use: https://etcd2:2379 (refused)"), "{text}");
        assert!(text.contains("no other may fail"), "{text}");
        let text = complaint(&[good(1), bad(2), bad(3)]).unwrap();
        assert!(
            text.contains("2 are of no use") && text.contains("nothing can be changed"),
            "{text}"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_member_is_asked_by_itself() {
        let Some(servers) = Server::start_three() else { return };
        let mut settings = servers[0].settings();
        settings.endpoints = servers.iter().map(|s| s.url.clone()).collect();
        let etcd = Etcd::new(&settings).unwrap();
        let ill = |members: &[Member]| -> Vec<bool> {
            members.iter().map(|m| m.trouble.is_some()).collect()
        };
        // They elect a leader first.
        let mut members = etcd.members().await;
        for _ in 0..20 {
            if complaint(&members).is_none() {
                break;
            }
            members = etcd.members().await;
        }
        assert_eq!(ill(&members), [false, false, false], "{members:?}");
        servers[1].signal(Signal::SIGKILL);
        let members = etcd.members().await;
        assert!(members[1].trouble.as_ref().unwrap().contains("refused"), "{members:?}");
        servers[2].signal(Signal::SIGSTOP);
        let members = etcd.members().await;
        assert_eq!(ill(&members), [true, true, true], "without a majority none is of use");
        servers[2].signal(Signal::SIGCONT);
    }
}
