//! Shell completions and manual pages, from the same definitions as the parser.

use crate::commands;
use crate::htools;
use crate::tool::Tool;
use clap::Command;
use clap_complete::Shell;
use std::io::Write;
use std::path::Path;

/// A tool with all its commands as one parser.
pub fn tree(tool: &'static Tool) -> Command {
    let mut command = Command::new(tool.program)
        .bin_name(tool.program)
        .about(tool.about)
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .disable_help_subcommand(true);
    for verb in tool.verbs {
        command = command.subcommand(verb.command(tool.program));
    }
    command
}

/// Writes the completions of all tools for a shell.
pub fn completions(shell: Shell, out: &mut dyn Write) {
    for tool in commands::TOOLS {
        clap_complete::generate(shell, &mut tree(tool), tool.program, out);
    }
    for tool in htools::TOOLS {
        clap_complete::generate(shell, &mut tool.command(), tool.name, out);
    }
}

/// Writes a manual page for each tool into a directory, its commands included.
pub fn manuals(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for tool in commands::TOOLS {
        let mut tree = tree(tool);
        tree.build();
        let mut page = Vec::new();
        let man = clap_mangen::Man::new(tree.clone()).section("8");
        man.render(&mut page)?;
        for verb in tree.get_subcommands() {
            let man = clap_mangen::Man::new(verb.clone());
            writeln!(page, ".SH \"{}\"", verb.get_name().to_uppercase())?;
            man.render_description_section(&mut page)?;
            man.render_synopsis_section(&mut page)?;
            man.render_options_section(&mut page)?;
        }
        std::fs::write(dir.join(format!("{}.8", tool.program)), page)?;
    }
    for tool in htools::TOOLS {
        let mut page = Vec::new();
        clap_mangen::Man::new(tool.command()).section("1").render(&mut page)?;
        std::fs::write(dir.join(format!("{}.1", tool.name)), page)?;
    }
    Ok(())
}
