use std::time::Duration;

use bytes::Bytes;

use pbft_messages::{Chunk, PeerMessage, Sequence, codec};
use pbft_protocol::{Effect, Effects, Instant, Now};

use crate::parameters::Values;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "oversize",
    row: 43,
    parameters: &[
        Parameter {
            name: "percent",
            default: "100",
            meaning: "how large the messages are, as a share of the largest frame that a link carries",
        },
        Parameter { name: "every", default: "1s", meaning: "how long it waits between two of them" },
    ],
    does: "Sends everybody messages as large as a link carries, or larger: chunks of a snapshot that nobody asked for.",
    defeated_by: "R1 and R3: a larger frame is never read, and the largest holds room in its sender's own budget alone; \
                  bulk has a lane of its own, so votes pass by it; what was not asked for is refused.",
    expect: "Nothing but traffic from this replica; others report that they refuse what they did not ask for.",
    stage: Stage::Always,
    samples: &Sample::all(Proof::Never, ["oversize:percent=1,every=200ms", "oversize:percent=101"]),
    pause: Pause::None,
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let configuration = &identity.configuration;
    let percent: u64 = values.get("percent", configuration)?;
    let frame = (configuration.parameters().frame_bytes as u64).saturating_mul(percent) / 100;
    let every = values.get("every", configuration)?;
    Ok(Box::new(Oversize { message: chunk(frame), every, next: Instant::default() }))
}

/// A message that is so many bytes long, as far as one can be encoded at all.
fn chunk(bytes: u64) -> PeerMessage {
    let of = |content| PeerMessage::Chunk(Chunk { sequence: Sequence(0), index: 0, content });
    let overhead = of(Bytes::new()).encode().len() as u64;
    let content = bytes.min(codec::LIMIT).saturating_sub(overhead);
    // The limit fits.
    of(vec![0; content as usize].into())
}

/// `oversize`: messages as large as the transport lets, or larger.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct Oversize {
    message: PeerMessage,
    every: Duration,
    next: Instant,
}

impl Strategy for Oversize {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, now: Now, effects: Effects) -> Effects {
        let mut effects: Vec<_> = effects.into();
        if now.instant >= self.next {
            self.next = now.instant.plus(self.every);
            effects.push(Effect::Broadcast(self.message.clone()));
        }
        effects.into()
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::ReplicaId;

    use super::*;
    use crate::testing::{identity, made, told_at};

    #[test]
    fn messages_have_the_size_that_was_asked_for() {
        let identity = identity(4, ReplicaId(1));
        let limit = identity.configuration.parameters().frame_bytes;
        for (percent, bytes) in [(100, limit), (50, limit / 2), (0, 28), (u64::MAX, codec::LIMIT as usize)] {
            let mut strategy = made(&format!("oversize:percent={percent}"), &identity);
            let mut sent = |at| told_at(&mut *strategy, at, vec![]);
            let first = sent(0);
            assert_eq!(first[0].1.encode().len(), bytes, "{percent}");
            assert_eq!((sent(999).len(), sent(1000).len(), sent(1001).len()), (0, 1, 0));
        }
    }
}
