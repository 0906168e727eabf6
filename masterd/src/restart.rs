//! Starting over: the same program, the same arguments, in the same process.
//!
//! What was in memory is gone, and so is every thread: nothing of a leadership that has ended can
//! act after it. Open files and sockets close by themselves.

use nix::unistd::execv;
use roost_proto::error::Error;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

/// Returns only if it fails, with the reason.
///
/// Not by the standard library's `exec`: that one first lets SIGPIPE end the process again, and
/// threads still write to connections that others close. One time in thirty masterd was gone.
pub fn start_over() -> Error {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.is_empty() {
        arguments.push("roost-masterd".into());
    }
    // The path keeps the process's name; a program that was replaced meanwhile has none any more.
    let program = std::env::current_exe().ok().filter(|path| path.exists());
    let program =
        program.map_or_else(|| "/proc/self/exe".into(), std::path::PathBuf::into_os_string);
    let failed =
        words(program, arguments).map_err(|e| e.to_string()).and_then(|(program, arguments)| {
            execv(&program, &arguments).map(drop).map_err(|e| e.to_string())
        });
    Error::environment(format!("masterd cannot start over: {}", failed.err().unwrap_or_default()))
}

fn words(
    program: OsString,
    arguments: Vec<OsString>,
) -> Result<(CString, Vec<CString>), std::ffi::NulError> {
    let arguments = arguments.into_iter().map(|word| CString::new(word.into_vec()));
    Ok((CString::new(program.into_vec())?, arguments.collect::<Result<_, _>>()?))
}
