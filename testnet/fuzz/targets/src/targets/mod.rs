//! The targets, by name.

mod boot;
mod client;
mod client_core;
mod configuration;
mod frames;
mod peer;
mod replica;
mod restore;
mod signatures;
mod store;

pub(crate) use restore::chunks_after;

/// A function that a fuzzer calls with bytes of its choice.
pub struct Target {
    /// Its name, which its seeds' folder and its binary have too.
    pub name: &'static str,
    /// What the bytes are, and what must hold of them.
    pub says: &'static str,
    /// Panics if it does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "peer_message",
        says: "a frame from a replica: what decodes encodes to the same bytes, and is accepted just if the rules say so",
        run: peer::message,
    },
    Target {
        name: "made_message",
        says: "a well-signed message of each kind and of any content: accepted just if the rules say so",
        run: peer::made,
    },
    Target {
        name: "view_change",
        says: "well-signed VIEW-CHANGEs of any content: accepted just if VC3 says so",
        run: peer::view_change,
    },
    Target {
        name: "new_view",
        says: "well-signed NEW-VIEWs of any content: accepted just if VC5 says so, else evidence",
        run: peer::new_view,
    },
    Target {
        name: "evidence",
        says: "evidence of any content: accepted just if it convicts",
        run: peer::evidence,
    },
    Target {
        name: "recovery_answer",
        says: "answers to a replica that recovers: accepted just if D8 says so",
        run: peer::recovery_answer,
    },
    Target {
        name: "client_message",
        says: "a frame from a client: what decodes encodes to the same bytes, and is accepted just if the rules say so",
        run: client::message,
    },
    Target {
        name: "client_core",
        says: "a session among lying replicas: what is believed was said alike by f+1, or by Q to a read, and once",
        run: client_core::session,
    },
    Target {
        name: "frames",
        says: "a stream in arbitrary pieces: the frames do not depend on the pieces",
        run: frames::pieces,
    },
    Target {
        name: "signatures",
        says: "crafted keys and signatures: votes strictly judged, clients' by ZIP 215 and alike alone and together",
        run: signatures::crafted,
    },
    Target {
        name: "cluster_file",
        says: "a cluster.toml: what is accepted keeps its limits, and survives being written again",
        run: configuration::cluster_file,
    },
    Target {
        name: "key_file",
        says: "a key file: what is accepted is a key that signs",
        run: configuration::key_file,
    },
    Target {
        name: "records",
        says: "the bytes of stored records: what decodes encodes to the same bytes, and a boot from it ends",
        run: boot::bytes,
    },
    Target {
        name: "boot",
        says: "a boot from well-signed records of any content: none that is unlawful is used, and no vote breaks D2",
        run: boot::records,
    },
    Target {
        name: "store_file",
        says: "a damaged store: the damage is found, or nothing was lost",
        run: store::damaged,
    },
    Target {
        name: "replica",
        says: "a replica among liars, crashes included: it contradicts itself in nothing, and executes in order",
        run: replica::among_liars,
    },
    Target {
        name: "opening",
        says: "a replica that others ask to lead: it opens the view once a quorum asks for it and nothing is missing",
        run: replica::leading,
    },
    Target {
        name: "restore_store",
        says: "a key-value store's chunks: what is restored gives the same chunks for ever, and works",
        run: restore::store,
    },
    Target {
        name: "restore_ledger",
        says: "a ledger's chunks: a boot from them ends, and its next snapshot is readable",
        run: restore::ledger,
    },
    Target {
        name: "kv_operations",
        says: "operations on the key-value store: reading changes nothing, and a restored store goes on alike",
        run: restore::operations,
    },
];

/// Runs the target of this name.
///
/// # Panics
/// If there is none, and if what the target says does not hold.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("there is no target {name}")).run)(bytes);
}
