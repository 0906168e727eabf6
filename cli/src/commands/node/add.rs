//! `gnt-node add`.
//!
//! A machine belongs to the cluster in two steps: its node daemon joins with a one-time token, which
//! gives it a certificate; then a job takes it into the configuration. This command does what is
//! left to do of both.

use crate::context::Cx;
use crate::exec;
use crate::failure::{Failure, Outcome};
use crate::options::yes_no;
use crate::resolve::{self, Host};
use crate::say;
use crate::submit::{self, PriorityOption};
use crate::values::{self, Ident, Params};
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::{Error, Result};
use roost_proto::opcodes::NodeAdd;
use roost_proto::paths::NODED_PORT;
use roost_proto::query::Resource;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// `add`.
#[derive(Args, Debug)]
pub struct Add {
    #[command(flatten)]
    job: PriorityOption,
    /// Its address for mirroring
    #[arg(short, long, value_name = "ADDRESS")]
    secondary_ip: Option<IpAddr>,
    /// Take a known node back
    #[arg(long)]
    readd: bool,
    /// Let the node join over ssh, instead of printing what to run there
    #[arg(long)]
    ssh: bool,
    /// With --ssh: do not check the machine's host key
    #[arg(long)]
    no_ssh_key_check: bool,
    /// Accepted for old scripts
    #[arg(long, hide = true)]
    force_join: bool,
    /// Accepted for old scripts
    #[arg(long, hide = true)]
    no_node_setup: bool,
    /// Say more
    #[arg(short, long)]
    verbose: bool,
    /// Group to be in
    #[arg(short = 'g', long, value_name = "GROUP")]
    node_group: Option<String>,
    /// It may become master
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    master_capable: Option<bool>,
    /// It may have instances
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    vm_capable: Option<bool>,
    /// Node parameters: KEY=VALUE,…
    #[arg(long, value_name = "PARAMS", value_parser = values::params)]
    node_parameters: Option<Params>,
    /// What hypervisors take: NAME:KEY=VALUE,…
    #[arg(long, value_name = "NAME:PARAMS", value_parser = values::ident)]
    hypervisor_state: Vec<Ident>,
    /// What storage is reserved: TYPE/ID:KEY=VALUE,…
    #[arg(long, value_name = "TYPE/ID:PARAMS", value_parser = values::ident)]
    disk_state: Vec<Ident>,
    /// Its name
    #[arg(value_name = "NODE")]
    node: String,
}

impl Add {
    fn opcode(&self, host: &Host) -> Result<NodeAdd> {
        Ok(NodeAdd {
            hv_state: values::by_any_name(&self.hypervisor_state)?,
            disk_state: values::disk_state(&self.disk_state)?,
            primary_ip: Some(host.address.to_string()),
            secondary_ip: self.secondary_ip.map(|address| address.to_string()),
            readd: self.readd,
            group: self.node_group.clone(),
            master_capable: self.master_capable,
            vm_capable: self.vm_capable,
            ndparams: self.node_parameters.clone().map(|params| params.0),
            ..NodeAdd::new(host.name.clone())
        })
    }

    /// Refuses a known node, or with `--readd` an unknown one.
    async fn check_known(&self, cx: &Cx, host: &Host) -> Outcome {
        let response = cx.client().await?.query(Resource::Node, &["name", "master"], None).await?;
        let known = response.data.iter().find(|row| row[0].value == host.name.as_str());
        match (known, self.readd) {
            (Some(row), true) if row[1].value == true => Err(Error::wrong_input(format!(
                "Node {} is the master: it can't be re-added from itself",
                host.name
            ))
            .into()),
            (Some(_), false) => Err(Failure::say(format!(
                "Node {} already in the cluster - please retry with '--readd'",
                host.name
            ))),
            (None, true) => Err(Failure::say(format!(
                "Node {} not in the cluster - please retry without '--readd'",
                host.name
            ))),
            _ => Ok(()),
        }
    }

    /// Makes sure that the machine's node daemon has joined.
    async fn join(&self, cx: &Cx, host: &Host) -> Outcome {
        if noded_answers(host.address).await {
            return Ok(());
        }
        let address = host.address.to_string();
        let reply = cx.client().await?.join_token(&host.name, &address).await?;
        let lines =
            [format!("roost-noded join {}", reply.token), "gnt daemon start-all".to_owned()];
        if self.ssh {
            self.run_there(host, &lines)?;
        } else {
            say!(cx, "Node {} has not joined yet. To let it join, run on it:", host.name);
            for line in &lines {
                say!(cx, "  {line}");
            }
            say!(cx, "Waiting for it (the token is good for {} minutes) ...", reply.lifetime / 60);
        }
        let end = Instant::now() + Duration::from_secs(reply.lifetime.into());
        while !noded_answers(host.address).await {
            if Instant::now() > end {
                return Err(Failure::say(format!(
                    "Node {} did not join in time; run this command again for a new token",
                    host.name
                )));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    fn run_there(&self, host: &Host, lines: &[String]) -> Outcome {
        let mut ssh = exec::command("ssh");
        ssh.args(["-o", "BatchMode=no", "-l", "root"]);
        if self.no_ssh_key_check {
            ssh.args(["-o", "StrictHostKeyChecking=no"]);
        }
        let port = self.node_parameters.as_ref().and_then(|params| params.0.get("ssh_port"));
        if let Some(port) = port.and_then(|port| port.as_str()) {
            ssh.args(["-p", port]);
        }
        // The token is secret: it goes through standard input, not through the list of processes.
        let script = lines.join(" && ");
        let (status, _, errors) = exec::run_with_input(
            {
                ssh.args([host.name.as_str(), "sh", "-s"]);
                ssh
            },
            format!("{script}\n").as_bytes(),
        )
        .map_err(|why| Failure::say(format!("cannot run ssh: {why}")))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::say(format!(
            "Node {} could not join over ssh ({status}):\n{}",
            host.name,
            String::from_utf8_lossy(&errors).trim()
        )))
    }
}

async fn noded_answers(address: IpAddr) -> bool {
    let connect = tokio::net::TcpStream::connect(SocketAddr::new(address, NODED_PORT));
    matches!(tokio::time::timeout(Duration::from_secs(2), connect).await, Ok(Ok(_)))
}

impl Verb for Add {
    const NAME: &'static str = "add";
    const ABOUT: &'static str = "Adds a node to the cluster";

    async fn run(self, cx: &Cx) -> Outcome {
        let host = resolve::host(&self.node)?;
        let op = self.opcode(&host)?;
        self.check_known(cx, &host).await?;
        self.join(cx, &host).await?;
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
