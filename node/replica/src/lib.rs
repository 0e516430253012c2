//! Under construction.
#![allow(dead_code, unused_imports)]
mod folder;
mod snapshot;
mod store;
#[cfg(test)]
mod testing;
