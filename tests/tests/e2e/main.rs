//! Whole clusters from the outside: commands in, output, exit codes and files out. Each test has a
//! lab of its own. Needs root. The long ones run with `make test-full`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod backup;
mod balancing;
mod cluster;
mod commands;
mod crashes;
mod drift;
mod etcd;
mod exports;
mod external;
mod failover;
mod failpoints;
mod jobs;
mod refusals;
mod tour;
