use pbft_messages::{Body, Configuration, PrePrepare};

use crate::parameters::{Value, Values};
use crate::reproposal::Reproposal;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "skip",
    row: 31,
    parameters: &[Parameter {
        name: "by",
        default: "1",
        meaning: "how many sequences it leaves out; window is as many as lie between h and H",
    }],
    does: "As primary, proposes each batch at a higher sequence than is its turn: with a gap that it never fills, or \
           beyond the window. As a backup it behaves well.",
    defeated_by: "N4: execution goes strictly in sequence order, so nothing after the gap is executed and its requests \
                  wait, which ends the view (VC1); VC4 fills the gap with null batches. N2: nothing above H is accepted.",
    expect: "One pause of about the view timeout, then a view change, with null batches where the gap was. It may sign \
             two proposals at one place: one moved there, and its own there from before, and is convicted then.",
    stage: Stage::Primary,
    samples: &Sample::all(Proof::Possible, ["skip", "skip:by=3", "skip:by=window", "skip:by=1000000000"]),
    pause: Pause::ViewTimeouts(1),
};

/// A number of sequences.
struct Distance(u64);

impl Value for Distance {
    const FORM: &'static str = "a whole number, or window";

    fn parse(text: &str, configuration: &Configuration) -> Option<Self> {
        let window = || (text == "window").then_some(configuration.parameters().window);
        text.parse().ok().or_else(window).map(Self)
    }
}

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let Distance(by) = values.get("by", &identity.configuration)?;
    let change = move |proposal: &PrePrepare, body: &Body| {
        Some((PrePrepare { sequence: proposal.sequence.plus(by), ..proposal.clone() }, body.clone()))
    };
    Ok(Box::new(Reproposal::new(DESCRIPTION.name, identity, change)))
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Message, PeerMessage, ReplicaId, Sequence};
    use pbft_protocol::{Effect, Now};

    use crate::testing::{configuration, identity, made, proposal};

    #[test]
    fn good_proposals_come_at_other_places() {
        let window = configuration(4).parameters().window;
        for (by, skipped) in [("1", 1), ("window", window), ("18446744073709551615", u64::MAX - 9)] {
            let mut skip = made(&format!("skip:by={by}"), &identity(4, ReplicaId(1)));
            let (header, body) = proposal(ReplicaId(1), 1, 9);
            let effects = vec![Effect::Broadcast(PeerMessage::Proposal(header, body))];
            let Some(Effect::Broadcast(message)) =
                skip.effects(Now::default(), effects.into()).into_iter().next()
            else {
                panic!("nothing is proposed");
            };
            let Message::Proposal(header, _) = message.verify(&configuration(4)).unwrap() else { panic!() };
            assert_eq!(header.value().sequence, Sequence(9 + skipped));
        }
    }
}
