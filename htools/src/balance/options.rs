//! What a balancer may do, and when it has done enough.

/// How moves are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// The one that makes the score least, again and again: the reference's.
    Greedy,
    /// Search over placements; never worse for the same number of moves.
    #[default]
    Search,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub algorithm: Algorithm,
    /// Moves, at most.
    pub max_moves: usize,
    /// What may be copied in all, MiB.
    pub max_copy: Option<i64>,
    /// What a GiB to be copied is worth, in units of the score: only [`Algorithm::Search`] weighs it.
    pub weigh_copy: f64,
    /// Placements that one walk of the search weighs, at most: what the plan costs to find.
    pub effort: usize,
    /// Processors to use; 0: all there are. The plan is the same.
    pub threads: usize,
    /// Stop when the score is within this of what cannot be avoided.
    pub enough: f64,
    /// A step has to win so much …
    pub min_gain: f64,
    /// … once the score is below this.
    pub min_gain_limit: f64,
    /// Disks may be copied.
    pub disk_moves: bool,
    /// Instances may change their primary node.
    pub instance_moves: bool,
    /// Only instances of offline nodes.
    pub evacuate: bool,
    /// Secondaries change only where the instance leaves an offline primary.
    pub restricted_migration: bool,
    /// Only what is impossible is refused.
    pub ignore_soft_errors: bool,
    /// No node may become unable to take over from another, not even for an instance that leaves a dead node:
    /// the reference allows that.
    pub keep_redundancy: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            algorithm: Algorithm::default(),
            max_moves: usize::MAX,
            max_copy: None,
            weigh_copy: 0.0,
            effort: 1_000_000,
            threads: 0,
            enough: 1e-9,
            min_gain: 0.01,
            min_gain_limit: 0.1,
            disk_moves: true,
            instance_moves: true,
            evacuate: false,
            restricted_migration: false,
            ignore_soft_errors: false,
            keep_redundancy: false,
        }
    }
}

impl Options {
    /// How many threads work.
    pub(super) fn workers(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        }
    }
}
