use bytes::Bytes;

use pbft_crypto::{Digest, Domain};
use pbft_messages::{Outcome, ReadOutcome, Refusal, Reply, RequestNumber, View};
use pbft_protocol::{Effect, Effects, Now};

use crate::parameters::{Values, choice};
use crate::rewrite::rewrite;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "lie",
    row: 36,
    parameters: &[Parameter {
        name: "about",
        default: "results",
        meaning: "results, of reads too; digests of requests; sequences; views; refusals: nothing was executed; busy: \
                  nothing was taken",
    }],
    does: "Answers clients with something untrue, to each request and to each unordered read. With replicas it behaves \
           well.",
    defeated_by: "N5: a client believes f+1 equal answers, or Q for an unordered read; fewer than f+1 refusals are never \
                  final; and a view is believed when f+1 report it (fault 39).",
    expect: "Nothing: clients wait for another answer, which comes as fast. Replies are not signed, so there is no \
             evidence.",
    stage: Stage::Always,
    samples: &Sample::all(
        Proof::Never,
        [
            "lie",
            "lie:about=digests",
            "lie:about=sequences",
            "lie:about=views",
            "lie:about=refusals",
            "lie:about=busy",
        ],
    ),
    pause: Pause::None,
};

choice! {
    /// What is untrue.
    About {
        Results = "results",
        Digests = "digests",
        Sequences = "sequences",
        Views = "views",
        Refusals = "refusals",
        Busy = "busy",
    },
    "results, digests, sequences, views, refusals or busy"
}

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    Ok(Box::new(Lie { about: values.get("about", &identity.configuration)? }))
}

/// `lie`: a replica whose answers to clients are untrue.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct Lie {
    about: About,
}

/// A result that is not this one.
fn wrong(result: &Bytes) -> Bytes {
    // The last byte, so that what is read from it is most likely still a result.
    let mut result = result.to_vec();
    match result.last_mut() {
        Some(last) => *last ^= 1,
        None => result.push(1),
    }
    result.into()
}

impl Lie {
    fn about_reply(&self, reply: &mut Reply) {
        match (self.about, &reply.outcome) {
            (About::Results, Outcome::Executed(result)) => reply.outcome = Outcome::Executed(wrong(result)),
            (About::Results, Outcome::Opened | Outcome::Refused(_)) => {
                reply.outcome = Outcome::Executed(Bytes::new());
            }
            (About::Digests, _) => reply.digest = Digest::of(Domain::Request, reply.digest.as_bytes()),
            (About::Sequences, _) => reply.sequence = reply.sequence.next(),
            (About::Views, _) => reply.view = View(reply.view.0.saturating_add(1_000_000)),
            (About::Refusals, _) => reply.outcome = Outcome::Refused(Refusal::SessionExpired),
            (About::Busy, _) => {}
        }
    }

    fn about_read(&self, outcome: &mut ReadOutcome) {
        match (self.about, &mut *outcome) {
            (About::Results, ReadOutcome::Result { result, .. }) => *result = wrong(result),
            (About::Sequences, ReadOutcome::Result { sequence, .. }) => *sequence = sequence.next(),
            (About::Refusals | About::Busy, _) => *outcome = ReadOutcome::Refused,
            _ => {}
        }
    }
}

impl Strategy for Lie {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        rewrite(effects, &mut |mut effect, out| {
            match &mut effect {
                Effect::Reply { client, session, replies } if self.about == About::Busy => {
                    let first = replies.first().map_or(RequestNumber(0), |reply| reply.number);
                    effect = Effect::Busy { client: *client, session: *session, first };
                }
                Effect::Reply { replies, .. } => replies.iter_mut().for_each(|it| self.about_reply(it)),
                Effect::AnswerRead { answer, .. } => self.about_read(&mut answer.outcome),
                _ => {}
            }
            out.push(effect);
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{ClientId, ReadAnswer, ReadId, ReplicaId, Sequence, SessionId};

    use super::*;
    use crate::testing::{digest, identity, made};

    #[test]
    fn each_answer_is_untrue_in_one_way() {
        let reply = Reply {
            view: View(3),
            session: SessionId(1),
            number: RequestNumber(7),
            digest: digest(b"request"),
            sequence: Sequence(9),
            outcome: Outcome::Executed(Bytes::from_static(b"old")),
        };
        let read = ReadOutcome::Result { sequence: Sequence(9), result: Bytes::from_static(b"old") };
        let told = |text: &str| {
            let (client, session) = (ClientId([1; 32]), SessionId(1));
            let answer = ReadAnswer { id: ReadId(1), outcome: read.clone() };
            let effects = vec![
                Effect::Reply { client, session, replies: vec![reply.clone()] },
                Effect::AnswerRead { client, session, answer },
            ];
            let mut lie = made(text, &identity(4, ReplicaId(0)));
            let effects: Vec<_> = lie.effects(Now::default(), effects.into()).into();
            let replies = match &effects[0] {
                Effect::Reply { replies, .. } => replies.first().cloned(),
                Effect::Busy { first: RequestNumber(7), .. } => None,
                other => panic!("{other:?}"),
            };
            match &effects[1] {
                Effect::AnswerRead { answer, .. } => (replies, answer.outcome.clone()),
                other => panic!("{other:?}"),
            }
        };
        let (replied, answered) = told("lie");
        assert_eq!(
            replied,
            Some(Reply { outcome: Outcome::Executed(Bytes::from_static(b"ole")), ..reply.clone() })
        );
        assert!(matches!(answered, ReadOutcome::Result { result, .. } if result == "ole"));
        assert_eq!(
            told("lie:about=views"),
            (Some(Reply { view: View(1_000_003), ..reply.clone() }), read.clone())
        );
        let refused = Reply { outcome: Outcome::Refused(Refusal::SessionExpired), ..reply.clone() };
        assert_eq!(told("lie:about=refusals"), (Some(refused), ReadOutcome::Refused));
        assert_eq!(told("lie:about=busy"), (None, ReadOutcome::Refused));
        for about in ["digests", "sequences"] {
            assert_ne!(told(&format!("lie:about={about}")).0, Some(reply.clone()), "{about}");
        }
    }
}
