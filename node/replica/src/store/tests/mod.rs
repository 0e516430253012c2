mod boot;
mod damage;
mod full_disk;
pub(crate) mod generated;
mod writer;

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;

use pbft_crypto::{Digest, Domain, SecretKey, Signer as _, Verified};
use pbft_messages::{
    Body, ClientId, Configuration, RequestNumber, Sequence, SessionId, Submission, Timestamp, View,
};
use pbft_protocol::{Effect, Record, WriteId};

use super::{Binding, Opened, StoreError, Writer, Written, create, open};
use crate::folder::DataFolder;
use crate::testing::{configuration, replica_key};

/// A data folder that goes away after the test.
struct Folder {
    _temporary: tempfile::TempDir,
    folder: DataFolder,
}

impl Folder {
    /// A folder without a store.
    fn empty() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::new(temporary.path().join("data"));
        Self { _temporary: temporary, folder }
    }

    /// A folder with a store of two records.
    fn new() -> Self {
        let folder = Self::empty();
        let records = [Record::Shutdown(None), Record::View(View(0), None)];
        create(&folder.folder, &binding(), &records).unwrap();
        folder
    }

    fn open(&self) -> Result<Opened, StoreError> {
        open(&self.folder, &binding())
    }

    fn records(&self) -> Vec<Record> {
        self.open().unwrap().records
    }

    /// Starts the writer; what it reports goes to the receiver.
    fn writer(&self) -> (Writer, Receiver<Written>) {
        let (sender, receiver) = channel();
        let writer = Writer::start(self.open().unwrap().file, move |written| {
            let _ = sender.send(written);
        });
        (writer.unwrap(), receiver)
    }
}

fn binding() -> Binding {
    binding_of(&configuration(4), &replica_key(0))
}

fn binding_of(configuration: &Configuration, key: &SecretKey) -> Binding {
    Binding::new(configuration, &key.public_key())
}

fn body(sequence: u64) -> Record {
    Record::Body(Sequence(sequence), Body::new(Timestamp(sequence), []).into())
}

/// A body with one operation of so many bytes.
fn large(sequence: u64, bytes: usize) -> Record {
    let (client, operations) = (ClientId([1; 32]), vec![Bytes::from(vec![0; bytes])]);
    let value = Submission::Requests { session: SessionId(1), first: RequestNumber(sequence), operations };
    let submission = Verified::sign(value, client, &replica_key(0), configuration(4).scope());
    Record::Body(Sequence(sequence), Body::new(Timestamp(1), &[submission]).into())
}

fn snapshot(sequence: u64) -> Record {
    Record::Snapshot(Sequence(sequence), Digest::of(Domain::Batch, &sequence.to_le_bytes()))
}

fn reservation(through: u64) -> Record {
    Record::Reservation(View(0), Sequence(through))
}

/// An effect to recognize a write by.
fn mark(sequence: u64) -> Effect {
    Effect::Collect { through: Sequence(sequence), keep: BTreeSet::new() }
}

/// Writes records, each in a write of its own, and closes the store.
fn write_all(folder: &Folder, records: impl IntoIterator<Item = Record>) {
    let (writer, _reports) = folder.writer();
    for (id, record) in (1..).zip(records) {
        writer.persist(WriteId(id), vec![record], vec![]);
    }
    writer.stop();
}
