//! What is left to do of a migration: pure.

/// What one side has of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It runs.
    Running,
    /// All of it, frozen.
    Frozen,
    /// A part of it: memory is still arriving, or stopped arriving.
    Partial,
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Move it.
    Transfer,
    /// Remove the leftover of a broken try from the target.
    DropThere,
    /// Remove the leftover of a finished move from here.
    DropHere,
    /// All is there: let it go on.
    ResumeThere,
    /// Nothing.
    Done,
    /// Nothing that we may decide.
    Fail(&'static str),
}

/// The next thing to do with a guest, given what is here and what is there.
///
/// ```text
///   here \ there  none         running       frozen       partial
///   none          lost         done          resume there lost
///   running       transfer     runs twice    drop there   drop there
///   frozen        transfer     drop here     drop there   drop there
/// ```
pub fn decide(here: Option<Side>, there: Option<Side>) -> Next {
    match (here, there) {
        (None, Some(Side::Running)) => Next::Done,
        (None, Some(Side::Frozen)) => Next::ResumeThere,
        (None, Some(Side::Partial)) => Next::Fail(
            "it is gone from here and only a part of it has arrived; start it again on its primary \
             node",
        ),
        (None, None) => Next::Fail("it runs neither here nor on the target; start it again"),
        (Some(Side::Partial), _) => Next::Fail(
            "only a part of it is here: another migration brings it just now, or one by \
                 post-copy broke and lost its memory; if so, stop it on both nodes and start it \
                 again",
        ),
        (Some(Side::Running), Some(Side::Running)) => Next::Fail(
            "it runs both here and on the target; stop it by hand on the node where it is not \
             wanted",
        ),
        (Some(Side::Frozen), Some(Side::Running)) => Next::DropHere,
        (Some(_), Some(Side::Frozen | Side::Partial)) => Next::DropThere,
        (Some(_), None) => Next::Transfer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDES: [Option<Side>; 4] =
        [None, Some(Side::Running), Some(Side::Frozen), Some(Side::Partial)];

    #[test]
    fn a_guest_that_runs_is_never_dropped_nor_doubled() {
        for here in SIDES {
            for there in SIDES {
                match decide(here, there) {
                    Next::DropThere => assert_ne!(there, Some(Side::Running)),
                    Next::DropHere => {
                        assert_eq!((here, there), (Some(Side::Frozen), Some(Side::Running)));
                    }
                    Next::ResumeThere => assert_eq!((here, there), (None, Some(Side::Frozen))),
                    Next::Transfer => assert!(here.is_some() && there.is_none()),
                    Next::Done => assert!(here.is_none() && there == Some(Side::Running)),
                    Next::Fail(why) => assert!(!why.is_empty()),
                }
            }
        }
    }
}
