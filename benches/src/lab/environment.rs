//! Where and how an experiment was carried out.

use serde::Serialize;

use crate::record::{Durability, Record};

/// Where and how an experiment was carried out, as its first run recorded it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Environment {
    /// This package's version.
    pub version: &'static str,
    /// The git revision that this program was built from, the replicas' too, with `-dirty` if files differed from it.
    pub revision: Option<&'static str>,
    /// The name of the processor, which load and replicas share.
    pub processor: Option<String>,
    /// How many cores they share.
    pub cores: Option<usize>,
    /// Whether this program was optimized when it was built.
    pub optimized: bool,
    /// When the first run began, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// How replicas keep what they acknowledge.
    pub durability: Durability,
    /// The bytes of a value.
    pub payload: usize,
    /// How many keys there are.
    pub keys: u32,
    /// How long each load ran before anything was counted.
    pub warmup_s: f64,
    /// What all choices follow from.
    pub seed: u64,
}

impl From<&Record> for Environment {
    fn from(record: &Record) -> Self {
        let settings = &record.settings;
        Self {
            version: record.version,
            revision: record.revision,
            processor: record.processor.clone(),
            cores: record.cores,
            optimized: record.optimized,
            started_unix_ms: record.started_unix_ms,
            durability: record.durability,
            payload: settings.payload,
            keys: settings.keys,
            warmup_s: settings.warmup_s,
            seed: settings.seed,
        }
    }
}

impl Environment {
    /// For people, in a line.
    #[must_use]
    pub fn told(&self) -> String {
        let revision = self.revision.map_or("unknown", |revision| revision.get(..12).unwrap_or(revision));
        let dirty = if self.revision.is_some_and(|it| it.ends_with("-dirty")) { " and changes" } else { "" };
        format!(
            "Revision {revision}{dirty}{}; {} cores of {}, shared by replicas and load; durability {}; {}-byte values, {} keys, \
             warm-up {} s, seed {}. Closed loop: latency excludes time that a request would have waited for its turn.",
            if self.optimized { "" } else { ", NOT optimized" },
            self.cores.map_or("?".to_owned(), |cores| cores.to_string()),
            self.processor.as_deref().unwrap_or("an unknown processor"),
            match self.durability {
                Durability::Sync => "sync",
                Durability::Memory => "memory",
                Durability::Unknown => "unknown",
            },
            self.payload,
            self.keys,
            self.warmup_s,
            self.seed,
        )
    }
}
