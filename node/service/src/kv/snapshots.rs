//! The store's snapshots. Each is cut into chunks with the help of the one before.

use std::cell::OnceCell;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use pbft_crypto::{Digest, MerkleTree};
use pbft_messages::codec;

use super::chunks::{Cut, Header, chunk, encode};
use super::history::{History, Position};
use super::state::State;
use super::touched::Touched;
use crate::Snapshot;

/// What one store's snapshots share.
#[derive(Default)]
pub(super) struct Snapshots {
    /// How many were taken.
    taken: u64,
    index: Arc<Mutex<Index>>,
}

/// How the newest snapshot that was asked for its leaves is cut: about a hundred bytes a chunk, and the keys.
#[derive(Default)]
struct Index {
    /// Which snapshot it was, counted from 1; 0 is the empty store.
    number: u64,
    chunks: Arc<[Chunk]>,
}

/// Where a chunk is found, and its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chunk {
    start: Position,
    /// See [`Cut::seen`].
    seen: Option<Position>,
    digest: Digest,
}

impl Snapshots {
    pub(super) fn take(&mut self, state: &mut State) -> StateSnapshot {
        self.taken += 1;
        let touched = std::mem::replace(&mut state.touched, Touched::nothing());
        StateSnapshot {
            state: state.clone(),
            number: self.taken,
            touched,
            index: Arc::clone(&self.index),
            chunks: OnceCell::new(),
        }
    }
}

/// The store as it was at one moment.
///
/// Its leaves cost the serializing and hashing of the chunks that changed since the snapshot before, and a copy of
/// all other digests. If the one before was not asked for its leaves, or a later one was asked earlier, all chunks
/// are serialized and hashed; the leaves are the same.
pub(super) struct StateSnapshot {
    state: State,
    number: u64,
    /// What changed since the snapshot before.
    touched: Touched,
    index: Arc<Mutex<Index>>,
    /// All chunks but the header.
    chunks: OnceCell<Arc<[Chunk]>>,
}

impl StateSnapshot {
    fn cut(&self) -> Arc<[Chunk]> {
        // The index is replaced as a whole, so a panic elsewhere can't have left a part of one.
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let chunks: Arc<[Chunk]> = match &self.touched {
            Touched::Records(touched) if self.number == index.number + 1 => {
                let mut touched: Vec<_> = touched.iter().collect();
                touched.sort_unstable();
                cut(&self.state.history, &index.chunks, &touched)
            }
            _ => cut(&self.state.history, &[], &[]),
        }
        .into();
        if self.number > index.number {
            *index = Index { number: self.number, chunks: Arc::clone(&chunks) };
        }
        chunks
    }

    fn header(&self) -> Bytes {
        codec::encode(&Header::new(&self.state)).into()
    }

    fn records(&self) -> &[Chunk] {
        self.chunks.get_or_init(|| self.cut())
    }
}

impl Snapshot for StateSnapshot {
    fn leaves(&mut self) -> Vec<Digest> {
        let header = MerkleTree::leaf(&self.header());
        std::iter::once(header).chain(self.records().iter().map(|chunk| chunk.digest)).collect()
    }

    fn chunk(&self, index: usize) -> Bytes {
        match index.checked_sub(1) {
            None => self.header(),
            Some(index) => {
                let chunks = self.records();
                let next = chunks.get(index + 1).map(|chunk| &chunk.start);
                chunk(&self.state.history, &chunks[index].start, next)
            }
        }
    }
}

/// Cuts all records into chunks. Those of `old` that no touched record has a say in are taken over: where a chunk
/// ends depends on its start and the records from there on, never on the chunk before.
fn cut(history: &History, old: &[Chunk], mut touched: &[&Position]) -> Vec<Chunk> {
    let mut chunks = Vec::with_capacity(old.len());
    let mut old = old.iter().peekable();
    let mut next = history.first();
    while let Some(start) = next {
        while old.next_if(|chunk| chunk.start < start).is_some() {}
        while let [first, rest @ ..] = touched
            && **first < start
        {
            touched = rest;
        }
        let is_untouched = |seen: Option<&Position>| match (touched, seen) {
            ([], _) => true,
            ([first, ..], Some(seen)) => *first > seen,
            (_, None) => false,
        };
        let unchanged = old.next_if(|chunk| chunk.start == start && is_untouched(chunk.seen.as_ref()));
        next = if let Some(chunk) = unchanged {
            chunks.push(chunk.clone());
            old.peek().map(|chunk| chunk.start.clone())
        } else {
            let Cut { records, seen, next } = Cut::new(history, &start);
            chunks.push(Chunk { start, seen, digest: MerkleTree::leaf(&encode(&records)) });
            next
        };
    }
    chunks
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::kv::chunks::Record;
    use crate::kv::history::Life;
    use crate::kv::{Operation, transaction};

    fn put(state: &mut State, index: usize, value: Vec<u8>) {
        transaction::run(state, Operation::put(format!("{index:020}"), value)).unwrap();
    }

    /// Records of 10 kB under all keys but one.
    fn history(without: Option<&Bytes>, keys: &[Bytes]) -> History {
        let mut history = History::new();
        let value = Bytes::from(vec![7; 10_000]);
        for key in keys.iter().filter(|key| Some(*key) != without) {
            history.push(key.clone(), 2, |_| Some(Life::put(None, 2, value.clone())));
        }
        history
    }

    /// Two runs of records that end no chunk, and between them records of which every third does.
    #[test]
    fn each_single_change_is_seen_by_all_chunks_that_depend_on_it() {
        let is_unending = |key: &Bytes| Record::new((key, 2, None)).checksum() >> 31 == 1;
        let numbered = |first: usize| (first..).map(|number| Bytes::from(format!("{number:04}")));
        let keys: Vec<_> = numbered(0)
            .filter(is_unending)
            .take(60)
            .chain(numbered(1_000).take(20))
            .chain(numbered(2_000).filter(is_unending).take(60))
            .collect();
        let all = history(None, &keys);
        let all_chunks = cut(&all, &[], &[]);
        for key in &keys {
            let rest = history(Some(key), &keys);
            let rest_chunks = cut(&rest, &[], &[]);
            let touched = (key.clone(), 2);
            assert_eq!(cut(&rest, &all_chunks, &[&touched]), rest_chunks, "without {key:?}");
            assert_eq!(cut(&all, &rest_chunks, &[&touched]), all_chunks, "with {key:?}");
        }
    }

    /// Digests that no chunk has show which ones were taken over.
    #[test]
    fn only_chunks_with_a_change_are_serialized_anew() {
        let mut state = State::new(NonZeroU64::new(100_000).unwrap());
        for index in 0..20_000 {
            put(&mut state, index, vec![1; 100]);
        }
        let mut old = cut(&state.history, &[], &[]);
        let false_digest = MerkleTree::leaf(b"no chunk");
        old.iter_mut().for_each(|chunk| chunk.digest = false_digest);
        state.touched = Touched::nothing();
        for index in [0, 10_000, 19_999] {
            put(&mut state, index, vec![2; 100]);
        }
        let Touched::Records(touched) = &state.touched else { panic!("three changes are not everything") };
        let chunks = cut(&state.history, &old, &touched.iter().collect::<Vec<_>>());
        let anew = chunks.iter().filter(|chunk| chunk.digest != false_digest).count();
        // A change at the start of a chunk makes the one before look again where it ends, and with small chances a
        // new record ends a chunk, or falls between the ends of an unending one.
        assert!(old.len() > 30 && (3..=9).contains(&anew), "{anew} of {}", old.len());
    }
}
