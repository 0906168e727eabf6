//! confd and mond on the nodes of real clusters: what they answer while masterd lives, dies, is cut off or is
//! told otherwise. Each test has a lab of its own. Needs root.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod confd;
mod guests;
mod mond;
mod site;
mod volumes;
