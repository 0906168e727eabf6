//! What the results of hooks mean for the job.

use roost_proto::error::{Error, ErrorKind, Result};
use roost_proto::node::{Action, HookPhase, HookResult};

/// These hooks are asked before anything is done, and may stop it.
pub fn may_veto(action: &Action) -> bool {
    matches!(action, Action::Hooks { phase: HookPhase::Pre, .. })
}

/// The veto of a node, if any of its scripts failed.
///
/// Errors: `HooksAbort`, one line for each of them.
pub fn verdict(node: &str, results: &[HookResult]) -> Result<()> {
    let failed = results.iter().filter(|result| result.ok == Some(false));
    let lines: Vec<_> = failed
        .map(|HookResult { script, output, .. }| match output.trim() {
            "" => format!("  node: {node}, script: {script} (no output)"),
            output => format!("  node: {node}, script: {script}, output: {output}"),
        })
        .collect();
    match lines.is_empty() {
        true => Ok(()),
        false => Err(veto(lines.join("\n"))),
    }
}

/// The vetoes of several nodes as one; everything else as it is.
pub fn merged<T>(mut results: Vec<Result<T>>) -> Vec<Result<T>> {
    let vetoes = results.iter().filter_map(|r| r.as_ref().err());
    let vetoes = vetoes.filter(|error| error.kind == ErrorKind::HooksAbort);
    let lines: Vec<_> = vetoes.map(|error| error.message.clone()).collect();
    if !lines.is_empty() {
        results.insert(0, Err(veto(lines.join("\n"))));
    }
    results
}

fn veto(message: String) -> Error {
    Error { kind: ErrorKind::HooksAbort, error_type: None, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(script: &str, ok: Option<bool>, output: &str) -> HookResult {
        HookResult { script: script.into(), ok, output: output.into() }
    }

    #[test]
    fn each_failed_script_is_a_line_of_the_veto() {
        let fine = [result("a", Some(true), "hello"), result("b", None, "")];
        assert_eq!(verdict("node1", &fine), Ok(()));
        assert!(merged(vec![verdict("node1", &fine)]).iter().all(Result::is_ok));

        let first = verdict("node1", &[result("p/a", Some(false), "no room\n")]);
        let second = verdict("node2", &[result("p/b", Some(false), ""), result("p/c", None, "")]);
        let all = merged(vec![Ok(()), first, second]);
        let error = all.into_iter().collect::<Result<Vec<()>>>().expect_err("a veto");
        assert_eq!(error.kind, ErrorKind::HooksAbort);
        assert_eq!(
            error.to_cli_text(),
            "Failure: hooks execution failed:\n  node: node1, script: p/a, output: no room\n  \
             node: node2, script: p/b (no output)"
        );
    }
}
