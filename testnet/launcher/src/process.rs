//! Processes that this one need not have started, held by id and start time so that a reused id is never mistaken.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

pub use rustix::process::Signal;

/// A process: its id, and when it started (in the kernel's ticks since boot).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// The start time, which tells it from a later process with the same id.
    pub started: u64,
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It runs, or would if there were something to do.
    Running,
    /// It is stopped by a signal.
    Paused,
    /// It has ended.
    Dead,
}

/// What `/proc` says of a process id.
struct Stat {
    state: char,
    /// The processor time that it has used, in user and in system mode.
    ticks: u64,
    threads: u64,
    started: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn read(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may hold anything; the third follows the
        // last parenthesis, the 14th and 15th are the processor time, the 20th counts threads, the 22nd is the start
        // time (proc(5)).
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let user: u64 = fields.nth(10)?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let threads = fields.nth(4)?.parse().ok()?;
        let started = fields.nth(1)?.parse().ok()?;
        Some(Self { state, ticks: user + system, threads, started })
    }

    fn condition(&self) -> Condition {
        match self.state {
            'T' | 't' => Condition::Paused,
            // A zombie has ended; only its parent has not looked yet. But while other threads are still being
            // killed, it is the first thread alone that has ended: files are open, and locked.
            'Z' | 'X' | 'x' if self.threads <= 1 => Condition::Dead,
            _ => Condition::Running,
        }
    }
}

impl ProcessId {
    /// The process that has this id now.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Stat::of(pid).map(|stat| Self { pid, started: stat.started })
    }

    /// What the process is doing.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match Stat::of(self.pid) {
            Some(stat) if stat.started == self.started => stat.condition(),
            _ => Condition::Dead,
        }
    }

    /// The processor time that it has used so far, to a hundredth of a second or so; `None` if it has ended.
    #[must_use]
    pub fn processor_time(&self) -> Option<Duration> {
        let ticks = Stat::of(self.pid).filter(|stat| stat.started == self.started)?.ticks;
        Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Its resident memory in bytes; `None` if it has ended.
    #[must_use]
    pub fn resident(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }

    /// Sends a signal; whether there was still a process to send it to.
    ///
    /// # Errors
    /// The operating system's: the process is another user's, say.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(handle) = self.handle()? else { return Ok(false) };
        match pidfd_send_signal(&handle, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the process has ended; whether it did in time.
    pub async fn ended(&self, patience: Duration) -> bool {
        // The kernel tells of the end through a handle, which tokio takes in unsafe code only; looking every few
        // milliseconds costs next to nothing and can be dropped at any time.
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        let deadline = tokio::time::Instant::now() + patience;
        while self.condition() != Condition::Dead {
            if tokio::time::Instant::now() >= deadline {
                return false;
            }
            looks.tick().await;
        }
        true
    }

    /// A handle that stays with this process whatever becomes of its id; `None` if it has ended.
    fn handle(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Looked at after the handle was opened: if it is the right process now, the handle is the right one's.
        Ok((self.condition() != Condition::Dead).then_some(handle))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_process_is_paused_resumed_and_ended() {
        let mut child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        assert_eq!(process.condition(), Condition::Running);
        assert!(process.signal(Signal::STOP).unwrap());
        let status = rustix::process::waitpid(
            Pid::from_raw(child.id() as i32),
            rustix::process::WaitOptions::UNTRACED,
        );
        assert!(status.unwrap().unwrap().1.stopped());
        assert_eq!(process.condition(), Condition::Paused);
        assert!(!process.ended(Duration::ZERO).await);
        assert!(process.signal(Signal::KILL).unwrap());
        assert!(process.ended(Duration::from_secs(10)).await);
        assert_eq!(process.condition(), Condition::Dead);
        child.wait().unwrap();
        assert!(!process.signal(Signal::KILL).unwrap());
    }

    #[test]
    fn a_process_has_ended_when_its_last_thread_has() {
        let line = |state: char, threads: u64| {
            format!("7 (a (b) c) {state} 1 7 7 0 -1 4 0 0 0 0 31 11 0 0 20 0 {threads} 0 981 0 0")
        };
        let condition = |state, threads| Stat::read(&line(state, threads)).unwrap().condition();
        let stat = Stat::read(&line('S', 3)).unwrap();
        assert_eq!((stat.ticks, stat.started), (42, 981));
        assert_eq!(condition('S', 3), Condition::Running);
        assert_eq!(condition('T', 3), Condition::Paused);
        // Its first thread has ended; the others still hold what it had open.
        assert_eq!(condition('Z', 3), Condition::Running);
        assert_eq!(condition('Z', 1), Condition::Dead);
    }

    #[test]
    fn a_reused_id_is_another_process() {
        let own = ProcessId::of(std::process::id()).unwrap();
        assert_eq!(own.condition(), Condition::Running);
        assert!(own.processor_time().is_some() && own.resident().unwrap() > 100_000);
        let other = ProcessId { started: own.started + 1, ..own };
        assert_eq!((other.condition(), other.processor_time()), (Condition::Dead, None));
        assert!(!other.signal(Signal::KILL).unwrap());
    }
}
