use std::time::Duration;

use pbft_crypto::{Kind, Malformed, Scope, Signature, Signed, Statement};
use pbft_messages::{ClientId, ClientMessage, Configuration, ReplicaId, ReplicaMessage, Submission};

use crate::parameters::Values;
use crate::{Description, Parameter, Pause, Proof, Sample, Stage, UnknownStrategy};

use super::pen::{Beat, Pen};
use super::{ClientIdentity, ClientShot, ClientStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "craft-signatures",
    row: 50,
    parameters: &[Parameter {
        name: "every",
        default: "50ms",
        meaning: "how long it waits between two submissions",
    }],
    does: "Mixes good requests with ones whose signature some checks would pass: malleated so that a lax check takes it, \
           with a point of small order, its own in another client's name, or made for another content, kind of message \
           or epoch of the cluster.",
    defeated_by: "One rule for every client's signature, alone or among many, over the kind, the scope, the signer's \
                  key and the received bytes (faults 9, 10, 27 and 37): what one replica refuses, all refuse.",
    expect: "The good requests are executed and the others are not; each of these costs its connection (R3). No view \
             change.",
    stage: Stage::Always,
    samples: &Sample::all(Proof::Never, ["craft-signatures", "craft-signatures:every=10ms"]),
    pause: Pause::None,
};

pub(crate) fn make(
    values: &Values<'_>,
    identity: &ClientIdentity,
) -> Result<Box<dyn ClientStrategy>, UnknownStrategy> {
    let beat = Beat::new(values.get("every", &identity.configuration)?);
    let pen = Pen::all(identity).into_iter().next();
    Ok(Box::new(CraftSignatures { pen, beat, number: 0, step: 0 }))
}

/// `craft-signatures`: signatures that are valid for some checks only.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
struct CraftSignatures {
    /// `None` for a client without a key, which can say nothing.
    pen: Option<Pen>,
    beat: Beat,
    /// The number that is next; 0 while the session is not open.
    number: u64,
    step: usize,
}

/// What a client signs.
type Request = Signed<Submission>;

/// Ways to spoil a good signature.
const CRAFTS: &[fn(&Pen, Request) -> Option<Request>] = &[
    |_, good| Some(with_signature(&good, malleated(good.signature()))),
    |_, good| Some(with_signature(&good, small_order(good.signature()))),
    |pen, good| Some(Signed::from_parts(pen.stranger()?, good.payload().clone(), *good.signature())),
    |pen, good| {
        let other = pen.sign(Submission::Open { session: pen.session }, pen.scope());
        Some(with_signature(&good, *other.signature()))
    },
    |pen, good| {
        let other = pen.sign(OtherKind(good.peek().ok()?), pen.scope());
        Some(with_signature(&good, *other.signature()))
    },
    |pen, good| {
        let scope = Scope { epoch: pen.scope().epoch + 1, ..pen.scope().clone() };
        Some(pen.sign(good.peek().ok()?, &scope))
    },
];

fn with_signature(signed: &Request, signature: Signature) -> Request {
    Signed::from_parts(signed.claimed_signer(), signed.payload().clone(), signature)
}

/// The same signature with its scalar s in another form, s + L, where L is the order of Ed25519's group. A check that
/// does not ask for the lowest form takes both.
fn malleated(signature: &Signature) -> Signature {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut bytes = signature.to_bytes();
    let mut carry = 0;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    Signature::from_bytes(&bytes)
}

/// A signature whose point R is the neutral element.
fn small_order(signature: &Signature) -> Signature {
    let mut bytes = signature.to_bytes();
    bytes[..32].fill(0);
    bytes[0] = 1;
    Signature::from_bytes(&bytes)
}

/// A submission as if it were a message of another kind.
struct OtherKind(Submission);

impl Statement for OtherKind {
    type Signer = ClientId;
    type Keyring = Configuration;
    const KIND: Kind = Kind::MAX;

    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        Submission::decode(payload).map(Self)
    }
}

impl ClientStrategy for CraftSignatures {
    fn name(&self) -> &'static str {
        DESCRIPTION.name
    }

    fn hear(&mut self, _: ReplicaId, message: &ReplicaMessage) {
        if self.pen.as_ref().is_some_and(|pen| pen.is_answered(self.number, message)) {
            self.number += 1;
        }
    }

    fn act(&mut self, now: Duration, out: &mut Vec<ClientShot>) {
        let Some(pen) = self.pen.as_mut().filter(|_| self.beat.is_due(now)) else { return };
        if self.step == 0 {
            pen.begin_session(now);
        }
        let craft = self.step % (CRAFTS.len() + 1);
        self.step += 1;
        let message = match (self.number, craft.checked_sub(1)) {
            (0, _) => pen.open(),
            (number, None) => pen.put(number, "good"),
            (number, Some(craft)) => match pen.put(number, &format!("bad {craft}")) {
                ClientMessage::Submit(good) => {
                    let Some(bad) = CRAFTS[craft](pen, good) else { return };
                    ClientMessage::Submit(bad)
                }
                other => other,
            },
        };
        pen.send_all(|_| message.clone(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::{accepted, act, answer, identity};
    use crate::client_strategy;

    #[test]
    fn only_the_good_ones_are_accepted() {
        let mut strategy = client_strategy("craft-signatures:every=10ms", &identity(1)).unwrap();
        let opening = accepted(&act(&mut *strategy, 0));
        strategy.hear(ReplicaId(1), &answer(&opening[0]));
        let mut good = 0;
        for step in 1..=CRAFTS.len() as u64 + 1 {
            let shots = act(&mut *strategy, step * 10);
            assert_eq!(shots.len(), 4, "{step}");
            good += accepted(&shots).len();
        }
        assert_eq!(good, 4);
    }
}
