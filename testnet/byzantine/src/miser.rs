use pbft_messages::PeerMessage;
use pbft_protocol::{Effect, Effects, Now};

use crate::parameters::Values;
use crate::rewrite::rewrite;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "miser",
    // The table is in the order of rows.
    row: 28,
    parameters: &[Parameter { name: "spare", default: "0", meaning: "how many bodies it hands over first" }],
    // The first sentence stands for it in lists.
    does: "Hands over no bodies. Whoever asks it for one is left without an answer.",
    defeated_by: "C4: every other replica is asked too.",
    expect: "Nothing: whoever lacks a body has it from another. Silence leaves no evidence.",
    // When it has an effect: trials bring that about.
    stage: Stage::Always,
    // What generators draw, and whether evidence convicts who follows it.
    samples: &Sample::all(Proof::Never, ["miser", "miser:spare=3"]),
    // How long the service may pause.
    pause: Pause::None,
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    Ok(Box::new(Miser { spare: values.get("spare", &identity.configuration)? }))
}

struct Miser {
    spare: u64,
}

impl Strategy for Miser {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        rewrite(effects, &mut |effect, out| {
            if let Effect::Send { message: PeerMessage::Body(_), .. } = effect {
                let Some(left) = self.spare.checked_sub(1) else { return };
                self.spare = left;
            }
            out.push(effect);
        })
    }
}
