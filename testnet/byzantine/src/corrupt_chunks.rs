use bytes::Bytes;

use pbft_crypto::MerkleTree;
use pbft_messages::{Chunk, LeafPage, Part, PartId, PeerMessage};
use pbft_protocol::{Effect, Effects, Now};

use crate::parameters::{Values, choice};
use crate::rewrite::rewrite;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "corrupt-chunks",
    row: 45,
    parameters: &[Parameter {
        name: "part",
        default: "chunks",
        meaning: "what is corrupt: chunks, leaves (the list of what the chunks are) or all",
    }],
    does: "Serves wrong content to a replica that fetches state: chunks that are not the snapshot's, or a list of chunks \
           that another root binds.",
    defeated_by: "C3: the list is proven against the certified root and each chunk against the list, so a source can \
                  delay and cannot lie; one that does is dropped.",
    expect: "The fetching replica reports source-dropped for this one, and gets its state from the others.",
    stage: Stage::Transfer,
    samples: &Sample::all(Proof::Never, ["corrupt-chunks", "corrupt-chunks:part=leaves"]),
    pause: Pause::None,
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    Ok(Box::new(CorruptChunks { corrupt: values.get("part", &identity.configuration)? }))
}

/// `corrupt-chunks`: a source of state that lies.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct CorruptChunks {
    corrupt: Corrupt,
}

choice! {
    /// What is corrupt.
    Corrupt { Chunks = "chunks", Leaves = "leaves", All = "all" },
    "chunks, leaves or all"
}

impl CorruptChunks {
    /// What is served in place of a part, unless it is served well.
    fn lie(&self, PartId { sequence, part }: PartId) -> Option<PeerMessage> {
        match part {
            Part::Chunk(index) if self.corrupt != Corrupt::Leaves => {
                Some(PeerMessage::Chunk(Chunk { sequence, index, content: content(index) }))
            }
            Part::Leaves(page) if self.corrupt != Corrupt::Chunks => {
                let tree = MerkleTree::new(vec![MerkleTree::leaf(&content(0)); MerkleTree::PAGE + 1]);
                let (leaves, proof) = tree.page(0)?;
                let (count, leaves) = (tree.len() as u64, leaves.to_vec());
                Some(PeerMessage::Leaves(LeafPage { sequence, page, count, leaves, proof }))
            }
            _ => None,
        }
    }
}

/// What no chunk of a snapshot says.
fn content(index: u64) -> Bytes {
    format!("chunk {index} of a state that never was").into()
}

impl Strategy for CorruptChunks {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        rewrite(effects, &mut |effect, out| {
            out.push(match effect {
                Effect::ServePart { to, id } => match self.lie(id) {
                    Some(message) => Effect::Send { to, message },
                    None => effect,
                },
                other => other,
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{ReplicaId, Sequence};

    use super::*;
    use crate::testing::{digest, identity, made, told_at};

    #[test]
    fn parts_are_as_asked_for_and_wrong() {
        let serve = |part| Effect::ServePart { to: ReplicaId(2), id: PartId { sequence: Sequence(8), part } };
        for (text, corrupt) in
            [("corrupt-chunks", 1), ("corrupt-chunks:part=leaves", 1), ("corrupt-chunks:part=all", 2)]
        {
            let mut strategy = made(text, &identity(4, ReplicaId(1)));
            let parts = vec![serve(Part::Chunk(3)), serve(Part::Leaves(0))];
            let told = told_at(&mut *strategy, 0, parts);
            assert_eq!(told.len(), corrupt, "{text}");
            for (to, message) in told {
                assert_eq!(to, Some(ReplicaId(2)));
                match message {
                    PeerMessage::Chunk(it) => assert_eq!((it.sequence, it.index), (Sequence(8), 3)),
                    PeerMessage::Leaves(it) => {
                        assert_eq!((it.sequence, it.page), (Sequence(8), 0));
                        assert!(!it.proof.proves_page(&digest(b"root"), it.page, it.count, &it.leaves));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
