//! `gnt-mond`.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("gnt-mond is being built: it reports nothing yet");
    ExitCode::FAILURE
}
