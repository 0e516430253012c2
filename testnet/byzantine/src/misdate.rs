use std::time::Duration;

use pbft_messages::{Body, PrePrepare, Timestamp};

use crate::parameters::{Values, choice};
use crate::reproposal::Reproposal;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "misdate",
    row: 32,
    parameters: &[
        Parameter {
            name: "time",
            default: "ahead",
            meaning: "ahead or behind: always off by as much; frozen: always that of its first proposal",
        },
        Parameter { name: "by", default: "3600s", meaning: "how far ahead or behind" },
    ],
    does: "As primary, proposes its batches at a wrong time: in the future, in the past, or at one that does not move. \
           As a backup it behaves well.",
    defeated_by: "N6: a backup accepts a fresh proposal only at a time near its own clock's; and the service's time is \
                  never below the last one, so that within the bound a primary can hurry it a little and no more.",
    expect: "If the time is off by more than the bound, one pause of about the view timeout, then a view change; \
             otherwise nothing at all. There is no evidence: a clock may be wrong.",
    stage: Stage::Primary,
    samples: &Sample::all(
        Proof::Never,
        [
            "misdate",
            "misdate:time=behind",
            "misdate:time=frozen",
            "misdate:by=100ms",
            "misdate:time=behind,by=1s",
        ],
    ),
    pause: Pause::ViewTimeouts(1),
};

choice! {
    /// Which time.
    Time { Ahead = "ahead", Behind = "behind", Frozen = "frozen" },
    "ahead, behind or frozen"
}

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let configuration = &identity.configuration;
    let time = values.get("time", configuration)?;
    // A span is at most a day.
    let by = values.get::<Duration>("by", configuration)?.as_nanos() as u64;
    let mut first = None;
    let change = move |proposal: &PrePrepare, body: &Body| {
        let right = body.time()?;
        let time = match time {
            Time::Ahead => Timestamp(right.0.saturating_add(by)),
            Time::Behind => Timestamp(right.0.saturating_sub(by)),
            Time::Frozen => *first.get_or_insert(right),
        };
        let body = body.with_time(time);
        Some((PrePrepare { digest: body.digest(), ..proposal.clone() }, body))
    };
    Ok(Box::new(Reproposal::new(DESCRIPTION.name, identity, change)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pbft_messages::{PeerMessage, ReplicaId};
    use pbft_protocol::{Effect, Now};

    use super::*;
    use crate::testing::{configuration, identity, made, proposal};

    #[test]
    fn times_are_wrong_and_the_rest_is_right() {
        let times = |text: &str| {
            let mut misdate = made(text, &identity(4, ReplicaId(1)));
            let (header, body) = proposal(ReplicaId(1), 1, 9);
            let mut proposed = |seconds: u64| {
                let body = Arc::new(body.with_time(Timestamp(seconds * 1_000_000_000)));
                let effects = vec![Effect::Broadcast(PeerMessage::Proposal(header.clone(), body))];
                match misdate.effects(Now::default(), effects.into()).into_iter().next() {
                    Some(Effect::Broadcast(message)) => {
                        assert!(message.clone().verify(&configuration(4)).is_ok());
                        let PeerMessage::Proposal(_, body) = message else { panic!("{message:?}") };
                        body.time().unwrap().0 / 1_000_000_000
                    }
                    other => panic!("{other:?}"),
                }
            };
            (proposed(5000), proposed(6000))
        };
        assert_eq!(times("misdate"), (8600, 9600));
        assert_eq!(times("misdate:time=behind,by=10s"), (4990, 5990));
        assert_eq!(times("misdate:time=frozen"), (5000, 5000));
    }
}
