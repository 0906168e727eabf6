//! Starting over: the same program, the same arguments, in the same process.
//!
//! What was in memory is gone, and so is every thread: nothing of a leadership that has ended can
//! act after it. Open files and sockets close by themselves.

use roost_proto::error::Error;
use std::os::unix::process::CommandExt;

/// Returns only if it fails, with the reason.
pub fn start_over() -> Error {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "roost-masterd".into());
    // The path keeps the process's name; a program that was replaced meanwhile has none any more.
    let program = std::env::current_exe().ok().filter(|path| path.exists());
    let program = program.unwrap_or_else(|| "/proc/self/exe".into());
    #[allow(clippy::disallowed_methods, reason = "no child: this process becomes it")]
    let failed = std::process::Command::new(program).arg0(name).args(arguments).exec();
    Error::environment(format!("masterd cannot start over: {failed}"))
}
