use std::time::Duration;

use pbft_messages::{ClientMessage, ReplicaId, ReplicaMessage};

use crate::parameters::Values;
use crate::{Description, Parameter, Pause, Proof, Sample, Stage, UnknownStrategy};

use super::pen::{Beat, Pen};
use super::{ClientIdentity, ClientShot, ClientStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "renumber",
    row: 49,
    parameters: &[Parameter {
        name: "every",
        default: "50ms",
        meaning: "how long it waits between two submissions",
    }],
    does: "Numbers its requests as no client may, in turn: again, again with another operation, in overlapping runs, \
           with gaps that it fills backwards, so old that no reply is kept, beyond the window, up to the highest number \
           that there is, and in sessions that it has left or opens again.",
    defeated_by: "N1: numbers are judged when a batch is executed, alike at every replica, so each is executed once or \
                  refused, and what one session does touches no other.",
    expect: "Refusals of kind different-request, beyond-window and session-expired; everybody else is served, and there \
             is no view change.",
    stage: Stage::Always,
    samples: &Sample::all(Proof::Never, ["renumber", "renumber:every=10ms"]),
    pause: Pause::None,
};

pub(crate) fn make(
    values: &Values<'_>,
    identity: &ClientIdentity,
) -> Result<Box<dyn ClientStrategy>, UnknownStrategy> {
    Ok(Box::new(Renumber::new(identity, values.get("every", &identity.configuration)?)))
}

/// `renumber`: numbers its requests as no client may: again, anew, far ahead, backwards, and across sessions.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
struct Renumber {
    /// `None` for a client without a key, which can say nothing.
    pens: Option<Pens>,
    beat: Beat,
    /// How many steps it has taken.
    step: usize,
}

/// The session in use, and the one before it.
struct Pens {
    now: Pen,
    before: Pen,
}

/// What it sends, one step after the other. The first steps are honest, so that the others have something to abuse.
const STEPS: &[fn(&Pens) -> ClientMessage] = &[
    |pens| pens.now.open(),
    |pens| pens.now.put(1, "first"),
    |pens| pens.now.run(2, 3, "run"),
    // The same again: answered, and not executed.
    |pens| pens.now.put(1, "first"),
    // Another operation under a number that is executed.
    |pens| pens.now.put(1, "other"),
    // A run over numbers some of which are executed.
    |pens| pens.now.run(3, 4, "overlapping"),
    // A gap within the window, and what fills it backwards.
    |pens| pens.now.put(40, "gap"),
    |pens| pens.now.run(20, 20, "filling"),
    |pens| pens.now.run(7, 13, "filling"),
    // A whole window more: of the first ones, no reply is kept. They come again, and anew.
    |pens| pens.now.run(41, 64, "forgetting"),
    |pens| pens.now.put(1, "first"),
    |pens| pens.now.put(2, "other"),
    // Beyond the window, and as high as numbers go.
    |pens| pens.now.put(5_000, "far"),
    |pens| pens.now.put(u64::MAX - 1, "farthest"),
    |pens| pens.now.put(u64::MAX, "overflowing"),
    // The opening's number, with an operation.
    |pens| pens.now.put(0, "opening"),
    // Old sessions: opened again, and used.
    |pens| pens.now.open(),
    |pens| pens.before.open(),
    |pens| pens.before.put(41, "old"),
    |pens| pens.before.put(1, "first"),
];

impl Renumber {
    /// The strategy for one client, which takes a step after each interval.
    fn new(identity: &ClientIdentity, every: Duration) -> Self {
        let pen = Pen::all(identity).into_iter().next();
        let pens = pen.map(|pen| Pens { now: pen.clone(), before: pen });
        Self { pens, beat: Beat::new(every), step: 0 }
    }
}

impl ClientStrategy for Renumber {
    fn name(&self) -> &'static str {
        DESCRIPTION.name
    }

    fn hear(&mut self, _: ReplicaId, _: &ReplicaMessage) {}

    fn act(&mut self, now: Duration, out: &mut Vec<ClientShot>) {
        let Some(pens) = self.pens.as_mut().filter(|_| self.beat.is_due(now)) else { return };
        let step = self.step % STEPS.len();
        self.step += 1;
        if step == 0 {
            pens.before = pens.now.clone();
            pens.now.begin_session(now);
        }
        let message = STEPS[step](pens);
        pens.now.send_all(|_| message.clone(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::{accepted, act, identity};

    #[test]
    fn it_goes_through_its_steps_in_one_session_after_the_other() {
        let mut strategy = Renumber::new(&identity(1), Duration::from_millis(10));
        let mut sessions = Vec::new();
        for step in 0..2 * STEPS.len() as u64 {
            let shots = act(&mut strategy, step * 10);
            assert_eq!(shots.len(), 4);
            sessions.extend(accepted(&shots).first().map(|it| it.session().0));
        }
        let first = sessions[0];
        assert!(first > 0 && sessions.last().is_some_and(|last| *last == first));
        sessions.sort_unstable();
        sessions.dedup();
        assert_eq!(sessions.len(), 3, "before the first there is none, which has the number 0");
    }

    #[test]
    fn without_a_key_it_is_silent() {
        assert_eq!(act(&mut Renumber::new(&identity(0), Duration::ZERO), 0), []);
    }
}
