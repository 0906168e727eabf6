//! `gnt-cluster import-ganeti`: a cluster of Ganeti's becomes one of ours, in place.
//!
//! It is always looked at first; without `--dry-run` masterd then writes the state, and the daemons
//! of this node are started. Other nodes join afterwards.

use super::import_config::{import, read};
use crate::commands::daemon::{Daemon, start_daemon, start_watchers};
use crate::confirm;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::resolve;
use crate::submit::{self, How};
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::Error;
use roost_proto::import::{GanetiImport, ImportSpec, understand};
use roost_proto::names::match_name;
use roost_proto::objects::Node;
use roost_proto::opcodes::ClusterPostInit;
use roost_proto::paths::NODED_PORT;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

/// `import-ganeti`.
#[derive(Args, Debug)]
pub struct ImportGaneti {
    /// Only say what was understood, what was not, and what would be otherwise
    #[arg(long)]
    dry_run: bool,
    /// Also if something is not supported; it stays in the configuration
    #[arg(short, long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// The node that this machine is, if not the one that was master
    #[arg(long, value_name = "NODE")]
    master: Option<String>,
    /// Ganeti's data directory: keys and certificates are taken over from there
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Instances that were up stay so: only if their guests are stopped
    #[arg(long)]
    keep_admin_state: bool,
    /// Leave the daemons stopped
    #[arg(long)]
    no_start: bool,
    /// Ganeti's config.data; - is standard input
    #[arg(value_name = "CONFIG.DATA")]
    file: PathBuf,
}

impl ImportGaneti {
    fn spec(&self, config: Value, dry_run: bool) -> ImportSpec {
        ImportSpec::Ganeti(GanetiImport {
            config,
            dry_run,
            force: self.force,
            master: self.master.clone(),
            data_dir: self.data_dir.as_ref().map(|dir| dir.display().to_string()),
            keep_admin_state: self.keep_admin_state,
        })
    }

    /// The node that this machine is to be.
    fn own_node(&self, config: &Value) -> Outcome<Node> {
        let (config, report) = understand(config);
        let config = config.ok_or_else(|| Failure::say(report.to_text()))?;
        let name = match &self.master {
            None => return Ok(config.nodes[&config.cluster.master_node].clone()),
            Some(name) => match_name(name, config.nodes.values().map(|n| n.name.as_str())),
        };
        let node = name.ok().and_then(|name| config.nodes.values().find(|n| &*n.name == name));
        node.cloned().ok_or_else(|| {
            let name = self.master.as_deref().unwrap_or_default();
            Error::unknown(format!("The configuration has no node '{name}'")).into()
        })
    }
}

/// This machine must be that node, and Ganeti's daemon gone.
fn check_machine(node: &Node) -> Outcome {
    let address: IpAddr = node
        .primary_ip
        .parse()
        .map_err(|_| Failure::say(format!("'{}' is not an address", node.primary_ip)))?;
    if !resolve::is_local(address) {
        return Err(Failure::say(format!(
            "This machine is not node {}: it does not have the address {address}. Run this on that \
             node, or name the node that this machine is with --master",
            node.name
        )));
    }
    let port = SocketAddr::new(address, NODED_PORT);
    if TcpStream::connect_timeout(&port, Duration::from_secs(1)).is_ok() {
        return Err(Failure::say(format!(
            "A node daemon answers at {port}: stop Ganeti's daemons first, on all nodes \
             ('systemctl disable --now ganeti.target'); guests run on"
        )));
    }
    Ok(())
}

impl Verb for ImportGaneti {
    const NAME: &'static str = "import-ganeti";
    const ABOUT: &'static str = "Takes over a cluster of Ganeti, from its config.data";

    async fn run(self, cx: &Cx) -> Outcome {
        let text = read(&self.file)?;
        let config: Value = serde_json::from_str(&text)
            .map_err(|why| Failure::say(format!("{} is not JSON: {why}", self.file.display())))?;
        cx.io.write_out(&import(&self.spec(config.clone(), true))?)?;
        if self.dry_run {
            return Ok(());
        }
        check_machine(&self.own_node(&config)?)?;
        if !self.yes {
            let question = "This machine will lead the cluster from now on, instead of Ganeti's master. \
                            Continue?";
            confirm::require(cx, question, 1)?;
        }
        import(&self.spec(config, false))?;
        if self.no_start {
            return Ok(());
        }
        start_daemon(cx, Daemon::Noded).await?;
        start_daemon(cx, Daemon::Masterd).await?;
        start_watchers(cx).await;
        submit::run(cx, ClusterPostInit::new(), &How::default()).await?;
        cx.say("The cluster is taken over. What to do next is said above.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::run_alone;
    use clap::{Command, FromArgMatches};
    use serde_json::json;

    fn parsed(words: &[&str]) -> ImportGaneti {
        let matches = ImportGaneti::augment_args(Command::new("import-ganeti"))
            .get_matches_from(["import-ganeti"].iter().chain(words));
        ImportGaneti::from_arg_matches(&matches).expect("good options")
    }

    fn fixture() -> Value {
        let text = include_str!("../../../../proto/fixtures/config.data.json");
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn options_become_settings() {
        let words = ["f", "--force", "--master=n2", "--data-dir=/old", "--keep-admin-state"];
        let expected = GanetiImport {
            config: json!(1),
            dry_run: true,
            force: true,
            master: Some("n2".into()),
            data_dir: Some("/old".into()),
            keep_admin_state: true,
        };
        assert_eq!(parsed(&words).spec(json!(1), true), ImportSpec::Ganeti(expected));
    }

    #[test]
    fn this_machine_must_be_the_node() {
        let own = |words: &[&str]| parsed(words).own_node(&fixture());
        let node = own(&["f"]).expect("the master");
        assert_eq!(&*node.name, "node1.example.org");
        let refused = check_machine(&node).expect_err("not this machine");
        assert!(refused.text().expect("text").contains("--master"));
        assert_eq!(&*own(&["f", "--master=node3"]).expect("a node").name, "node3.example.org");
        assert!(own(&["f", "--master=node33"]).is_err());
    }

    #[tokio::test]
    async fn what_is_no_json_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        let file = dir.path().join("config.data");
        std::fs::write(&file, "{").expect("written");
        let ran = run_alone(&format!("gnt-cluster import-ganeti {}", file.display())).await;
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("is not JSON"), "{ran:?}");
    }
}
