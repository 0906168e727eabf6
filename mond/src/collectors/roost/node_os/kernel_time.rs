//! How well the kernel's clock is kept: `adjtimex(2)`, asked without changing anything. Time services (chrony, ntpd,
//! systemd-timesyncd) tell the kernel what they know, whichever it is.
//!
//! The one place of mond that needs `unsafe`: nobody wraps this call. See the proof below.

#![allow(unsafe_code, reason = "adjtimex has no safe wrapper; one call, with its proof")]

use nix::libc;

/// What the kernel answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelTime {
    /// Somebody keeps the clock.
    pub synchronized: bool,
    /// What is still to be corrected, seconds.
    pub offset: f64,
    /// By how much the clock may be wrong: at most, and probably. Seconds; both grow while nobody keeps it.
    pub max_error: f64,
    pub estimated_error: f64,
    /// By how much the clock is slowed or sped up, parts per million.
    pub frequency: f64,
    /// Seconds that TAI is ahead; 0 where nobody said.
    pub tai: i64,
}

/// Asks. None: this kernel, or a container, does not let us.
pub fn ask() -> Option<KernelTime> {
    // SAFETY: `timex` is a struct of integers, for which all bits zero is a value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole `timex` that nobody else uses meanwhile. Its `modes` are 0, so the call only
    // writes into it, and keeps no pointer.
    let state = unsafe { libc::adjtimex(&mut timex) };
    (state >= 0).then(|| of(state, &timex))
}

fn of(state: i32, timex: &libc::timex) -> KernelTime {
    let micro = |value: i64| value as f64 / 1e6;
    let is_nano = timex.status & libc::STA_NANO != 0;
    let offset = timex.offset as f64 / if is_nano { 1e9 } else { 1e6 };
    KernelTime {
        synchronized: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
        offset,
        max_error: micro(timex.maxerror),
        estimated_error: micro(timex.esterror),
        // With 16 bits behind the point.
        frequency: timex.freq as f64 / 65_536.0,
        tai: i64::from(timex.tai),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        let time = ask().unwrap();
        assert!(time.max_error >= 0.0 && time.offset.abs() < 1e6, "{time:?}");
    }

    #[test]
    fn units_are_seconds() {
        // SAFETY: see `ask`.
        let mut timex: libc::timex = unsafe { std::mem::zeroed() };
        timex.offset = 1_500;
        timex.maxerror = 2_000_000;
        timex.freq = 65_536 * 3;
        let time = of(libc::TIME_OK, &timex);
        assert_eq!((time.offset, time.max_error, time.frequency), (0.0015, 2.0, 3.0));
        assert!(time.synchronized);
        timex.status = libc::STA_NANO;
        assert_eq!(of(libc::TIME_OK, &timex).offset, 0.000_001_5);
        assert!(!of(libc::TIME_ERROR, &timex).synchronized);
        timex.status = libc::STA_UNSYNC;
        assert!(!of(libc::TIME_OK, &timex).synchronized);
    }
}
