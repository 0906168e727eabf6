//! The whole tree of commands and options, and what is made from it.

use super::run_alone;
use crate::commands::TOOLS;
use std::fmt::Write;
use std::path::Path;

/// Every command with its options and arguments, a line each.
fn outline() -> String {
    let mut text = String::new();
    for tool in TOOLS {
        for verb in tool.verbs {
            let command = verb.command(tool.program);
            let _ = write!(text, "{} {}", tool.program, verb.name);
            for alias in verb.aliases {
                let _ = write!(text, "|{alias}");
            }
            for arg in command.get_positionals() {
                let _ = write!(text, " <{}>", arg.get_id());
            }
            let mut options: Vec<String> = command
                .get_arguments()
                .filter(|arg| !arg.is_positional())
                .filter(|arg| arg.get_id() != "debug" && arg.get_id() != "reason")
                .map(|arg| {
                    let short = arg.get_short().map(|c| format!("-{c}"));
                    let long = arg.get_long().map(|long| format!("--{long}"));
                    let name: Vec<String> = short.into_iter().chain(long).collect();
                    let value = if arg.get_action().takes_values() { "=" } else { "" };
                    format!("{}{value}", name.join("/"))
                })
                .collect();
            options.sort_by_key(|option| option.trim_start_matches('-').to_owned());
            let _ = writeln!(text, " [{}]", options.join(" "));
        }
    }
    text
}

/// Run with UPDATE_FIXTURES=1 after a change that is meant.
#[test]
fn the_tree_is_as_recorded() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/commands.txt");
    let outline = outline();
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, &outline).expect("written");
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(outline == recorded, "commands or options changed:\n{outline}");
}

#[test]
fn definitions_are_sound() {
    for tool in TOOLS {
        crate::docs::tree(tool).debug_assert();
        for (i, verb) in tool.verbs.iter().enumerate() {
            assert!(!tool.verbs[..i].iter().any(|other| other.name == verb.name), "{}", verb.name);
        }
    }
}

#[tokio::test]
async fn completions_and_manuals() {
    let ran = run_alone("gnt completion bash").await;
    assert_eq!(ran.code, 0);
    assert!(
        ran.out.contains("gnt-instance")
            && ran.out.contains("replace") | ran.out.contains("migrate")
    );
    assert_eq!(run_alone("gnt completion").await.code, 2);
    let dir = tempfile::tempdir().expect("temporary directory");
    let ran = run_alone(&format!("gnt man {}", dir.path().display())).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let page = std::fs::read_to_string(dir.path().join("gnt-node.8")).expect("a page");
    assert!(page.contains("EVACUATE") && page.contains("early\\-release"), "{page}");
}
