//! Keeps a result: the report as JSON, the latencies as an HDR histogram log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::load::Measured;
use crate::report::Report;

const RESULT: &str = "result.json";
const LATENCIES: &str = "latency.hlog";

/// Why a result could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The folder holds a result already.
    #[error("{} holds a result already: name another folder, or remove that file", .0.display())]
    Occupied(PathBuf),
    /// A file or folder could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A histogram could not be written.
    #[error("cannot write the histograms: {0}")]
    Histogram(String),
}

/// Makes sure before a run that its result can be kept in `folder`, which is created if need be.
///
/// # Errors
/// [`FilesError`]: it holds a result already, or can't be made.
pub fn prepare_folder(folder: &Path) -> Result<(), FilesError> {
    fs::create_dir_all(folder).map_err(|source| FilesError::Io { path: folder.to_owned(), source })?;
    let result = folder.join(RESULT);
    if result.exists() { Err(FilesError::Occupied(result)) } else { Ok(()) }
}

/// Writes `result.json`, and `latency.hlog` with the tags `all`, `reads` and `writes`, in microseconds; HdrHistogram's
/// tools read it.
///
/// # Errors
/// [`FilesError`]
pub fn write_files(folder: &Path, report: &Report, measured: &Measured) -> Result<(), FilesError> {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|source| FilesError::Io { path, source })
    };
    write(LATENCIES, &histogram_log(report, measured)?)?;
    let io = |error: serde_json::Error| FilesError::Io { path: folder.join(RESULT), source: error.into() };
    // Last: where this file is, the result is complete.
    write(RESULT, &[serde_json::to_vec_pretty(report).map_err(io)?, b"\n".to_vec()].concat())
}

fn histogram_log(report: &Report, measured: &Measured) -> Result<Vec<u8>, FilesError> {
    let failed = |error: &dyn std::fmt::Debug| FilesError::Histogram(format!("{error:?}"));
    let started = UNIX_EPOCH + Duration::from_millis(report.record.started_unix_ms);
    let (mut log, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("latencies in microseconds").add_comment(report.loop_note);
    builder.with_start_time(started).with_base_time(started);
    let mut writer = builder.begin_log_with(&mut log, &mut serializer).map_err(|error| failed(&error))?;
    let tally = &measured.tally;
    let all = tally.all();
    let warmup = Duration::from_secs_f64(report.record.settings.warmup_s);
    for (name, series) in [("all", &all), ("reads", &tally.reads), ("writes", &tally.writes)] {
        let written = writer.write_histogram(series.latencies(), warmup, measured.duration, Tag::new(name));
        written.map_err(|error| failed(&error))?;
    }
    drop(writer);
    Ok(log)
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::report::tests::{measured, report};

    #[test]
    fn a_result_is_kept_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new").join("one");
        prepare_folder(&folder).unwrap();
        prepare_folder(&folder).unwrap();
        write_files(&folder, &report(), &measured()).unwrap();
        let result: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join(RESULT)).unwrap()).unwrap();
        assert_eq!(result["writes"]["completed"], 75);
        let log = fs::read(folder.join(LATENCIES)).unwrap();
        let entries: Vec<_> = IntervalLogIterator::new(&log).map(Result::unwrap).collect();
        let tags = entries.iter().filter_map(|entry| match entry {
            LogEntry::Interval(interval) => Some((interval.tag().unwrap().as_str(), interval.duration())),
            _ => None,
        });
        let duration = Duration::from_millis(2500);
        assert_eq!(tags.collect::<Vec<_>>(), [("all", duration), ("reads", duration), ("writes", duration)]);
        assert!(matches!(prepare_folder(&folder), Err(FilesError::Occupied(_))));
    }
}
