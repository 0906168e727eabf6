//! `gnt-confd`: answers signed questions about the configuration over UDP.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("gnt-confd is being built: it answers nothing yet");
    ExitCode::FAILURE
}
