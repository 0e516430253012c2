//! The file of events, which outlives the process: also a killed replica's events can be read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{EventLog, Read};
use crate::folder::DataFolder;

/// How often what is new is written. A kill loses the events of the last moment, at most.
const INTERVAL: Duration = Duration::from_millis(50);

/// How large a file may grow; then it takes the place of the older one. So the two take twice this.
const LIMIT: u64 = 16 << 20;

/// How many events are written at once.
const PIECE: usize = 4096;

/// The thread that writes the file.
pub(crate) struct EventFile {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl EventFile {
    /// Opens the file, to write at its end, and starts the thread.
    pub(crate) fn start(log: EventLog, folder: &DataFolder) -> io::Result<Self> {
        let mut output = Output::open(folder.events(), folder.older_events(), LIMIT)?;
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("pbft-events".into()).spawn(move || {
            let mut from = 0;
            let mut last = false;
            while !last {
                last = wait(&stopped);
                if let Err(error) = output.write_new(&log, &mut from) {
                    // Events are for people; the replica does its duty without them.
                    tracing::warn!(%error, "events could not be written");
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Writes what is left and ends the thread.
    pub(crate) fn stop(mut self) {
        self.end();
        // The thread does not panic; if it did, events are missing and nothing else.
        let _ = self.thread.take().map(JoinHandle::join);
    }

    fn end(&self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_one();
    }
}

impl Drop for EventFile {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits for the next time to write; whether it is the last.
fn wait((stopped, changed): &(Mutex<bool>, Condvar)) -> bool {
    let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
    let (guard, _) = changed
        .wait_timeout_while(guard, INTERVAL, |stopped| !*stopped)
        .unwrap_or_else(PoisonError::into_inner);
    *guard
}

/// The file, and how long it is.
struct Output {
    path: PathBuf,
    older: PathBuf,
    limit: u64,
    file: File,
    length: u64,
}

impl Output {
    fn open(path: PathBuf, older: PathBuf, limit: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let mut length = file.metadata()?.len();
        if length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                // A kill cut the last line short: the next one begins on a line of its own.
                file.write_all(b"\n")?;
                length += 1;
            }
        }
        Ok(Self { path, older, limit, file, length })
    }

    fn write_new(&mut self, log: &EventLog, from: &mut u64) -> io::Result<()> {
        loop {
            let Read { lines, next, .. } = log.read(*from, PIECE);
            if lines.is_empty() {
                return Ok(());
            }
            *from = next;
            let mut text = Vec::new();
            for line in &lines {
                serde_json::to_writer(&mut text, line)?;
                text.push(b'\n');
            }
            self.append(&text)?;
        }
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        if self.length + text.len() as u64 > self.limit && self.length > 0 {
            fs::rename(&self.path, &self.older)?;
            *self = Self::open(self.path.clone(), self.older.clone(), self.limit)?;
        }
        self.length += text.len() as u64;
        self.file.write_all(text)
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{ReplicaId, Timestamp};
    use pbft_protocol::Report;

    use super::*;
    use crate::EventLine;

    fn lines(path: &std::path::Path) -> Vec<EventLine> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    #[test]
    fn events_outlive_the_process_and_a_line_cut_short() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::new(temporary.path());
        for run in 0..2 {
            let log = EventLog::new(ReplicaId(0), Arc::default());
            let file = EventFile::start(log.clone(), &folder).unwrap();
            (0..5).for_each(|time| log.record(Timestamp(time), Report::Shed));
            file.stop();
            assert_eq!(lines(&folder.events()).len(), 5 * (run + 1));
            OpenOptions::new().append(true).open(folder.events()).unwrap().write_all(b"{\"repl").unwrap();
        }
    }

    #[test]
    fn the_files_stay_bounded() {
        let temporary = tempfile::tempdir().unwrap();
        let (path, older) = (temporary.path().join("new"), temporary.path().join("old"));
        let mut output = Output::open(path.clone(), older.clone(), 1000).unwrap();
        let log = EventLog::new(ReplicaId(0), Arc::default());
        let mut from = 0;
        for time in 0..100 {
            log.record(Timestamp(time), Report::Shed);
            output.write_new(&log, &mut from).unwrap();
        }
        for path in [&path, &older] {
            assert!(fs::metadata(path).unwrap().len() <= 1000);
        }
        let newest: Vec<_> =
            [lines(&older), lines(&path)].concat().into_iter().map(|line| line.count).collect();
        assert!(newest.len() > 15 && newest.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        assert_eq!(newest.last(), Some(&99));
    }
}
