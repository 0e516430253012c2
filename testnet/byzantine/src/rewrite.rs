//! Going through effects, those inside writes included.

use pbft_protocol::{Effect, Effects};

/// Replaces each effect by what `change` pushes for it, in order. What waits inside a write stays inside it: the
/// replacement of such an effect waits for the same write.
pub(crate) fn rewrite(effects: Effects, change: &mut impl FnMut(Effect, &mut Vec<Effect>)) -> Effects {
    rewrite_list(effects.into(), change).into()
}

fn rewrite_list(effects: Vec<Effect>, change: &mut impl FnMut(Effect, &mut Vec<Effect>)) -> Vec<Effect> {
    let mut out = Vec::with_capacity(effects.len());
    for effect in effects {
        match effect {
            Effect::Persist { id, records, then } => {
                let then = rewrite_list(then, change);
                out.push(Effect::Persist { id, records, then });
            }
            other => change(other, &mut out),
        }
    }
    out
}
