//! Where and how an experiment was carried out.

use serde::Serialize;

use super::file_system;
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
    /// The kind of file system that holds the files of all that was started, as `"ext4"`; `null` if the system does not tell.
    pub file_system: Option<String>,
    /// How many clients, each with a key of its own, the load came from.
    pub identities: usize,
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
            file_system: file_system::kind(&std::env::temp_dir()),
            identities: settings.identities,
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
            "Revision {revision}{dirty}{}; {} cores of {}, shared by replicas and load; durability {}, files on {}; \
             {}-byte values, {} keys, warm-up {} s, seed {}; client keys: {}. Closed loop: latency excludes time that a request \
             would have waited for its turn.{}",
            if self.optimized { "" } else { ", NOT optimized" },
            self.cores.map_or("?".to_owned(), |cores| cores.to_string()),
            self.processor.as_deref().unwrap_or("an unknown processor"),
            match self.durability {
                Durability::Sync => "sync",
                Durability::Memory => "memory",
                Durability::Unknown => "unknown",
            },
            self.file_system.as_deref().unwrap_or("an unknown file system"),
            self.payload,
            self.keys,
            self.warmup_s,
            self.seed,
            self.identities,
            self.warning().map_or(String::new(), |warning| format!(" WARNING: {warning}.")),
        )
    }

    /// What makes its results other than they seem.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let kind = self.file_system.as_deref().filter(|kind| file_system::is_in_memory(kind))?;
        (self.durability == Durability::Sync).then(|| {
            format!(
                "the temporary folder is on {kind}, which is in memory: durability sync costs nothing there; name one on \
                 a disk with TMPDIR"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn sync_in_memory_is_warned_of() {
        let told = |kind: &str, durability| {
            let environment = Environment::from(&report().record);
            let environment = Environment { file_system: Some(kind.into()), durability, ..environment };
            (environment.told(), environment.warning().is_some())
        };
        let (said, warned) = told("tmpfs", Durability::Sync);
        assert!(warned && said.contains("sync, files on tmpfs") && said.contains("TMPDIR"), "{said}");
        assert!(!told("tmpfs", Durability::Memory).1 && !told("ext4", Durability::Sync).1);
    }
}
