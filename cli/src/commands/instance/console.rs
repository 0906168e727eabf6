//! `gnt-instance console`.

use crate::commands::daemon::identity;
use crate::context::Cx;
use crate::exec;
use crate::failure::{Failure, Outcome};
use crate::say;
use crate::submit::PriorityOption;
use crate::values::{shell_quote, shell_split};
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::{Error, Result};
use roost_proto::query::{Filter, Resource};
use serde_json::Value;

/// `console`.
#[derive(Args, Debug)]
pub struct Console {
    #[command(flatten)]
    job: PriorityOption,
    /// Only print the command
    #[arg(long)]
    show_cmd: bool,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
}

/// How a console is reached.
#[derive(Debug, PartialEq)]
enum Way {
    /// By this command.
    Run(Vec<String>),
    /// By what is said here.
    Read(String),
}

/// Reads a console's description. `local` tells whether a node is this machine.
fn way(console: &Value, local: impl Fn(&str) -> bool) -> Result<Way> {
    let text = |key: &str| console.get(key).and_then(Value::as_str).unwrap_or_default();
    let (instance, host) = (text("instance"), text("host"));
    let port = console.get("port").and_then(Value::as_u64).unwrap_or_default();
    match text("kind") {
        "ssh" => {
            let words: Vec<String> = match console.get("command") {
                Some(Value::String(line)) => shell_split(line),
                Some(Value::Array(words)) => {
                    words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect()
                }
                _ => Vec::new(),
            };
            if words.is_empty() {
                return Err(Error::exec(format!("the console of {instance} has no command")));
            }
            if local(host) {
                return Ok(Way::Run(words));
            }
            let user = match text("user") {
                "" => "root",
                user => user,
            };
            let mut ssh = vec!["ssh".to_owned(), "-t".into(), "-l".into(), user.to_owned()];
            if port > 0 {
                ssh.extend(["-p".into(), port.to_string()]);
            }
            let line: Vec<String> = words.iter().map(|word| shell_quote(word)).collect();
            ssh.extend([host.to_owned(), line.join(" ")]);
            Ok(Way::Run(ssh))
        }
        "vnc" => Ok(Way::Read(format!(
            "Instance {instance} has its VNC listening on {host}:{port} (display {}), URL \
             <vnc://{host}:{port}/>",
            port.saturating_sub(5900)
        ))),
        "spice" => Ok(Way::Read(format!(
            "Instance {instance} has its SPICE server listening on {host}:{port}, URL \
             <spice://{host}:{port}/>"
        ))),
        "msg" => Ok(Way::Read(text("message").to_owned())),
        other => Err(Error::exec(format!(
            "the console of {instance} is of a kind '{other}' that this program does not know"
        ))),
    }
}

impl Verb for Console {
    const NAME: &'static str = "console";
    const ABOUT: &'static str = "Opens a console on an instance";

    async fn run(self, cx: &Cx) -> Outcome {
        let fields = ["name", "oper_state", "console", "status"];
        let filter = Filter::Or(vec![Filter::equal("name", self.name.as_str())]);
        let response = cx.client().await?.query(Resource::Instance, &fields, Some(&filter)).await?;
        let row = response.data.first().ok_or_else(|| {
            Error::unknown(format!("Instance '{}' not known; see 'gnt-instance list'", self.name))
        })?;
        let name = row[0].value.as_str().unwrap_or(&self.name);
        if row[1].value != true || !row[2].is_normal() || row[2].value.is_null() {
            let status = row[3].value.as_str().unwrap_or("unknown");
            return Err(
                Error::exec(format!("Instance {name} is not running (state {status})")).into()
            );
        }
        let own = identity(&cx.paths);
        let local = |host: &str| {
            own.as_ref().is_some_and(|own| own.name.as_str() == host || own.address == host)
        };
        match way(&row[2].value, local)? {
            Way::Read(text) => {
                say!(cx, "{text}");
                Ok(())
            }
            Way::Run(words) if self.show_cmd => {
                let words: Vec<String> = words.iter().map(|word| shell_quote(word)).collect();
                say!(cx, "{}", words.join(" "));
                Ok(())
            }
            Way::Run(words) => match exec::run(&words) {
                Ok(status) if status.success() => Ok(()),
                Ok(status) => Err(Failure::say(format!(
                    "Connection to the console of instance {name} failed ({status})"
                ))),
                Err(why) => Err(Failure::say(format!("cannot run {}: {why}", words[0]))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn local_consoles_need_no_ssh() {
        let console = json!({"instance": "web1", "kind": "ssh", "host": "n1", "user": "root",
            "command": ["virsh", "console", "web1"]});
        let words = |ws: &[&str]| Way::Run(ws.iter().map(|w| (*w).to_owned()).collect());
        assert_eq!(way(&console, |host| host == "n1"), Ok(words(&["virsh", "console", "web1"])));
        assert_eq!(
            way(&console, |_| false),
            Ok(words(&["ssh", "-t", "-l", "root", "n1", "virsh console web1"]))
        );
    }

    #[test]
    fn other_kinds_are_described() {
        let vnc = json!({"instance": "web1", "kind": "vnc", "host": "10.0.0.1", "port": 5905});
        let Ok(Way::Read(text)) = way(&vnc, |_| false) else { panic!("to be read") };
        assert!(text.contains("10.0.0.1:5905 (display 5)"), "{text}");
        assert_eq!(
            way(&json!({"kind": "msg", "message": "none"}), |_| true),
            Ok(Way::Read("none".into()))
        );
        assert!(way(&json!({"kind": "telepathy"}), |_| true).is_err());
    }
}
