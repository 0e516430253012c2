//! Times in a manifest's fields that are plain durations.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::units::Time;

/// For fields of type `Option<Duration>`.
pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Time::deserialize(deserializer).map(|time| Some(time.0))
}

/// For fields of type `Duration`.
pub(super) fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Time::deserialize(deserializer).map(|time| time.0)
}
