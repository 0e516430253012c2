//! What clients ask for.

use bytes::Bytes;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use pbft_service::kv::{Compare, Delete, Keys, Operation, Put, Range, Relation, Step, Target, Txn};

/// What clients ask for. Every operation that may change something is unlike every other, so that one which is executed
/// twice is found (I3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Each request puts a key of its own; reads count the keys.
    Puts,
    /// All clients put, read, delete, and compare and put, the same few keys; reads are of one key.
    Mixed {
        /// How many keys.
        keys: u16,
    },
}

/// Names for a client's operations.
pub(crate) struct Names {
    client: usize,
    next: u32,
}

impl Names {
    pub(crate) fn new(client: usize) -> Self {
        Self { client, next: 0 }
    }

    fn next(&mut self) -> String {
        self.next += 1;
        format!("client-{}-{}", self.client, self.next)
    }
}

impl Workload {
    /// The next operation to be ordered.
    pub(crate) fn operation(self, names: &mut Names, random: &mut ChaCha8Rng) -> Bytes {
        let name = names.next();
        match self {
            Self::Puts => Operation::put(name.clone(), name),
            Self::Mixed { keys } => Operation::Txn(mixed(name, &key(keys, random), random)),
        }
        .encode()
    }

    /// The next unordered read. Two of the same are alike, as a client's would be.
    pub(crate) fn read(self, random: &mut ChaCha8Rng) -> Bytes {
        let (keys, count_only) = match self {
            Self::Puts => (Keys::prefix(""), true),
            Self::Mixed { keys } => (Keys::Single(key(keys, random)), false),
        };
        Operation::Range(Range { count_only, ..Range::new(keys) }).encode()
    }
}

fn key(keys: u16, random: &mut ChaCha8Rng) -> Bytes {
    format!("key-{}", random.random_range(0..keys)).into()
}

/// Something with one key. A comparison that always holds carries the name.
fn mixed(name: String, key: &Bytes, random: &mut ChaCha8Rng) -> Txn {
    let named = Compare { key: name.clone().into(), relation: Relation::Equal, target: Target::Version(0) };
    let keys = Keys::Single(key.clone());
    let put = Step::Put(Put { key: key.clone(), value: name.into(), previous: true });
    let read = Step::Range(Range::new(keys.clone()));
    let mut txn = Txn { compares: vec![named], success: vec![], failure: vec![] };
    match random.random_range(0..4) {
        0 => txn.success.extend([put, read]),
        1 => txn.success.push(read),
        2 => txn.success.push(Step::Delete(Delete { keys, previous: true })),
        _ => {
            let version = Target::Version(random.random_range(0..3));
            txn.compares.push(Compare { key: key.clone(), relation: Relation::Greater, target: version });
            txn.success.push(read);
            txn.failure.push(put);
        }
    }
    txn
}
