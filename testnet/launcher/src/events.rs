//! Every replica's typed events, merged by time.

use std::fs;
use std::io;

use tokio::sync::mpsc;

use pbft_messages::ReplicaId;
use pbft_node::EventLine;

use crate::process::Condition;
use crate::{Testnet, TestnetError};

/// How many events may wait for whoever follows them; a replica drops what is not fetched in time.
const WAITING: usize = 1024;

/// Events as they come, of all replicas that run.
#[derive(Debug)]
pub struct Following(mpsc::Receiver<EventLine>);

impl Following {
    /// The next event; `None` once every replica has ended.
    pub async fn next(&mut self) -> Option<EventLine> {
        self.0.recv().await
    }
}

impl Testnet {
    /// The events that the replicas have written so far, whether they run or not, ordered by time. Replicas keep the
    /// newest ones only.
    ///
    /// # Errors
    /// [`TestnetError::File`]
    pub fn events(&self) -> Result<Vec<EventLine>, TestnetError> {
        let mut events = Vec::new();
        for replica in self.configuration().replicas() {
            for path in self.folder().events(replica) {
                let text = match fs::read(&path) {
                    Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(source) => return Err(TestnetError::File { path, source }),
                };
                events.extend(text.lines().filter_map(read));
            }
        }
        // Stable, so each replica's events stay in its own order.
        events.sort_by_key(|event| event.time);
        Ok(events)
    }

    /// The events of the replicas that run now, as they come, from the first that is not among `read`.
    ///
    /// # Errors
    /// [`TestnetError`], if a replica does not answer.
    pub async fn follow_events(&self, read: &[EventLine]) -> Result<Following, TestnetError> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let state = self.state()?;
        let running = |replica: &ReplicaId| matches!(state.living(*replica), Some((_, Condition::Running)));
        for replica in self.configuration().replicas().filter(running) {
            // Numbers begin anew with each run; what was written last is of this one.
            let last = read.iter().rfind(|event| event.replica == replica);
            let mut events = self.control(replica).follow(last.map_or(0, |event| event.count + 1)).await?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Ok(Some(event)) = events.next_event().await {
                    if sender.send(event).await.is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Following(receiver))
    }
}

/// Reads a line; one that was cut off by a crash is none.
fn read(line: &str) -> Option<EventLine> {
    serde_json::from_str(line).ok()
}
