//! Asking a running replica.

use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::path::SocketPath;
use super::{EvidenceEntry, Ready, Status};
use crate::{DataFolder, EventLine};

/// Why a replica did not answer as was hoped.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No replica listens there.
    #[error("no replica runs in {}: {source}", folder.display())]
    NotRunning {
        /// The data folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection ended.
    #[error("the replica in {} stopped before it answered", folder.display())]
    Gone {
        /// The data folder.
        folder: PathBuf,
    },
    /// The replica did not carry the command out.
    #[error("{0}")]
    Refused(String),
    /// The answer is of another shape than expected: another version of the program.
    #[error("the replica's answer cannot be read ({0}): it runs another version")]
    Unexpected(String),
}

/// A connection to the control socket of a running replica.
#[derive(Debug)]
pub struct ControlClient {
    folder: PathBuf,
    stream: BufReader<UnixStream>,
}

impl ControlClient {
    /// Connects to the replica that runs in a data folder.
    ///
    /// # Errors
    /// [`ControlError::NotRunning`]
    pub async fn connect(folder: &DataFolder) -> Result<Self, ControlError> {
        let failed = |source| ControlError::NotRunning { folder: folder.path().into(), source };
        let path = SocketPath::of(folder).map_err(failed)?;
        let stream = UnixStream::connect(path.get()).await.map_err(failed)?;
        Ok(Self { folder: folder.path().into(), stream: BufReader::new(stream) })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// [`ControlError`]; [`ControlError::Refused`] with the replica's reason.
    pub async fn request(&mut self, request: &Value) -> Result<Value, ControlError> {
        self.send(request).await?;
        let answer = self.line().await?.ok_or_else(|| self.gone())?;
        match answer.get("error").and_then(Value::as_str) {
            Some(why) => Err(ControlError::Refused(why.to_owned())),
            None => Ok(answer),
        }
    }

    /// How the replica stands; with the root of its state, if asked for.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn status(&mut self, state_root: bool) -> Result<Status, ControlError> {
        decode(self.request(&json!({ "command": "status", "state_root": state_root })).await?)
    }

    /// Where the replica listens.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn ready(&mut self) -> Result<Ready, ControlError> {
        decode(self.request(&json!({ "command": "ready" })).await?)
    }

    /// The evidence that the replica holds; check it.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn evidence(&mut self) -> Result<Vec<EvidenceEntry>, ControlError> {
        let mut answer = self.request(&json!({ "command": "evidence" })).await?;
        decode(answer["evidence"].take())
    }

    /// Asks the replica to stop in good order. The answer comes before it has.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn stop(&mut self) -> Result<(), ControlError> {
        self.request(&json!({ "command": "stop" })).await.map(drop)
    }

    /// Asks for the events from number `from` on, and for those to come. Read them with
    /// [`ControlClient::next_event`]; the connection is of no other use then.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn follow(&mut self, from: u64) -> Result<(), ControlError> {
        self.send(&json!({ "command": "events", "follow": true, "from": from })).await
    }

    /// The next event; `None` when the replica has stopped. Dropping the future in the middle may lose an event.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn next_event(&mut self) -> Result<Option<EventLine>, ControlError> {
        loop {
            match self.line().await? {
                None => return Ok(None),
                // Events that are no longer kept are in the file of events.
                Some(line) if line.get("skipped").is_some() => {}
                Some(line) => return decode(line).map(Some),
            }
        }
    }

    async fn send(&mut self, request: &Value) -> Result<(), ControlError> {
        let sent = self.stream.write_all(format!("{request}\n").as_bytes()).await;
        sent.map_err(|_| self.gone())
    }

    async fn line(&mut self) -> Result<Option<Value>, ControlError> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await.map_err(|_| self.gone())?;
        if read == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).map_err(|error| ControlError::Unexpected(error.to_string()))
    }

    fn gone(&self) -> ControlError {
        ControlError::Gone { folder: self.folder.clone() }
    }
}

fn decode<T: DeserializeOwned>(answer: Value) -> Result<T, ControlError> {
    serde_json::from_value(answer).map_err(|error| ControlError::Unexpected(error.to_string()))
}
