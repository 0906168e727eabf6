//! Ctrl-C.
//!
//! A thread of its own waits for it, so that it works while a question is being asked too. A
//! program run on the terminal (a console) gets the signal as well and decides for itself.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

static PROGRAM_RUNS: AtomicBool = AtomicBool::new(false);

/// While this exists, a program of the terminal's deals with Ctrl-C.
#[derive(Debug)]
pub struct Deferred(());

impl Deferred {
    /// From now on.
    pub fn new() -> Deferred {
        PROGRAM_RUNS.store(true, Ordering::SeqCst);
        Deferred(())
    }
}

impl Default for Deferred {
    fn default() -> Deferred {
        Deferred::new()
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        PROGRAM_RUNS.store(false, Ordering::SeqCst);
    }
}

/// Ends this process with a word about its jobs when Ctrl-C is pressed.
pub fn watch() {
    let wait = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if PROGRAM_RUNS.load(Ordering::SeqCst) {
                    continue;
                }
                let _ = std::io::stderr().write_all(
                    b"\nAborted. Note that if the operation created any jobs, they might have been \
                      submitted and will continue to run in the background.\n",
                );
                std::process::exit(1);
            }
        });
    };
    // Without the thread Ctrl-C still ends the process, only without the words.
    let _ = std::thread::Builder::new().name("interrupt".into()).spawn(wait);
}
