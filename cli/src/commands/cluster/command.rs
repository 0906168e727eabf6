//! `gnt-cluster command`.

use super::nodes::NodesOptions;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::verb::Verb;
use clap::Args;
use roost_proto::rpc::master::CommandOutput;
use std::collections::BTreeMap;

/// `command`. From its first argument on everything is the command.
#[derive(Args, Debug)]
pub struct CommandVerb {
    #[command(flatten)]
    nodes: NodesOptions,
    /// The node's name in front of each line
    #[arg(short = 'M', long)]
    show_machine_names: bool,
    /// Only nodes where it failed
    #[arg(long)]
    failure_only: bool,
    /// The command: its words, joined by blanks, are for a shell on the node
    #[arg(
        value_name = "WORD",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

impl Verb for CommandVerb {
    const NAME: &'static str = "command";
    const ABOUT: &'static str = "Runs a command on all (or only some) nodes";

    async fn run(self, cx: &Cx) -> Outcome {
        let nodes = self.nodes.online(cx, true).await?;
        if nodes.is_empty() {
            return Ok(());
        }
        let line = self.words.join(" ");
        let mut outputs = cx.client().await?.run_command(nodes.clone(), line).await?;
        // They run at the same time; their output is printed in order.
        let mut waiting = BTreeMap::new();
        let mut order = nodes.iter().peekable();
        while let Some(output) = outputs.next().await? {
            waiting.insert(output.node.clone(), output);
            while let Some(output) = order.peek().and_then(|node| waiting.remove(*node)) {
                order.next();
                self.print(cx, &output)?;
            }
        }
        waiting.values().try_for_each(|output| self.print(cx, output))
    }
}

impl CommandVerb {
    fn print(&self, cx: &Cx, output: &CommandOutput) -> Outcome {
        let failed = output.code != 0 || !output.error.is_empty();
        if self.failure_only && !failed {
            return Ok(());
        }
        let text = match output.error.as_str() {
            "" => String::from_utf8_lossy(&output.output).trim_end().to_owned(),
            error => format!("(could not be run: {error})"),
        };
        say!(cx, "{}", "-".repeat(48));
        if self.show_machine_names {
            for line in text.lines() {
                say!(cx, "{}: {line}", output.node);
            }
        } else {
            say!(cx, "node: {}", output.node);
            say!(cx, "{text}");
        }
        say!(cx, "return code = {}", output.code);
        Ok(())
    }
}
