//! `mon-collector`.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("mon-collector is being built: it reports nothing yet");
    ExitCode::FAILURE
}
