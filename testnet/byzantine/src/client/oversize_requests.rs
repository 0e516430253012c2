use std::time::Duration;

use bytes::Bytes;

use pbft_messages::{ClientMessage, Read, ReadId, ReplicaId, ReplicaMessage, Submission, codec};

use crate::parameters::Values;
use crate::{Description, Parameter, Pause, Proof, Sample, Stage, UnknownStrategy};

use super::pen::{Beat, Pen};
use super::{ClientIdentity, ClientShot, ClientStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "oversize-requests",
    row: 51,
    parameters: &[Parameter {
        name: "every",
        default: "200ms",
        meaning: "how long it waits between two of them",
    }],
    does: "Sends what exceeds the limits, well signed: an operation too large, operations too large together, too many \
           of them, a submission without any, and a read too large.",
    defeated_by: "R1 and R4: limits are checked before anything is kept, alike at every replica; a frame above the limit \
                  is not read at all.",
    expect: "Nothing of it is ordered, each costs its connection, and everybody else is served.",
    stage: Stage::Always,
    samples: &Sample::all(Proof::Never, ["oversize-requests", "oversize-requests:every=50ms"]),
    pause: Pause::None,
};

pub(crate) fn make(
    values: &Values<'_>,
    identity: &ClientIdentity,
) -> Result<Box<dyn ClientStrategy>, UnknownStrategy> {
    let beat = Beat::new(values.get("every", &identity.configuration)?);
    Ok(Box::new(OversizeRequests { pen: Pen::all(identity).into_iter().next(), beat, step: 0 }))
}

/// `oversize-requests`: requests that exceed the limits.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
struct OversizeRequests {
    /// `None` for a client without a key, which can say nothing.
    pen: Option<Pen>,
    beat: Beat,
    step: usize,
}

/// What it sends, one after the other. The session is opened first, so that sizes alone are wrong.
const STEPS: &[fn(&Pen) -> ClientMessage] = &[
    Pen::open,
    |pen| pen.requests(1, vec![zeros(pen.limits().operation_bytes + 1)]),
    |pen| {
        let limits = pen.limits();
        let count = (limits.batch_bytes / limits.operation_bytes + 1).min(Submission::MAXIMUM_REQUESTS);
        // Shared between them; what is sent is as large as the sum.
        let operation = zeros((limits.batch_bytes / count + 1).min(limits.operation_bytes));
        pen.requests(1, vec![operation; count])
    },
    |pen| pen.run(1, Submission::MAXIMUM_REQUESTS as u64 + 1, "too many"),
    |pen| pen.requests(1, Vec::new()),
    |pen| ClientMessage::Read(Read { id: ReadId(1), operation: zeros(pen.limits().operation_bytes + 1) }),
];

/// So many bytes, as far as a message can be encoded at all.
fn zeros(bytes: usize) -> Bytes {
    const MOST: usize = codec::LIMIT as usize / 2;
    vec![0; bytes.min(MOST)].into()
}

impl ClientStrategy for OversizeRequests {
    fn name(&self) -> &'static str {
        DESCRIPTION.name
    }

    fn hear(&mut self, _: ReplicaId, _: &ReplicaMessage) {}

    fn act(&mut self, now: Duration, out: &mut Vec<ClientShot>) {
        let Some(pen) = self.pen.as_mut().filter(|_| self.beat.is_due(now)) else { return };
        let step = self.step % STEPS.len();
        self.step += 1;
        if step == 0 {
            pen.begin_session(now);
        }
        let message = STEPS[step](pen);
        pen.send_all(|_| message.clone(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::{accepted, act, identity};
    use crate::client_strategy;

    #[test]
    fn only_the_opening_is_accepted() {
        let identity = identity(1);
        let mut strategy = client_strategy("oversize-requests:every=10ms", &identity).unwrap();
        assert_eq!(accepted(&act(&mut *strategy, 0)).len(), 4);
        for step in 1..STEPS.len() as u64 {
            let shots = act(&mut *strategy, step * 10);
            assert_eq!((shots.len(), accepted(&shots).len()), (4, 0), "{step}");
            if let ClientMessage::Read(read) = &shots[0].message {
                assert!(read.check(&identity.configuration).is_err());
            }
        }
    }
}
