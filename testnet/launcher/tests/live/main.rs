//! Real clusters of real processes. They run one after the other: a machine with two cores has enough to do with one.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test, helpers included")]

mod bad_input;
mod commands;
mod crashes;
mod faults;
mod import;
mod main_job;
mod manifests;
mod production_node;
mod readme;
mod sim;
mod support;
