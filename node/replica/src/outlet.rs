//! What stands between the protocol and the world.

use std::collections::VecDeque;

use serde_json::Value;

use pbft_protocol::{Effects, Input, Now};

/// Sees every effect before it is carried out, and may change it.
///
/// The production replica runs with [`Honest`], which changes nothing, and links nothing else: it cannot misbehave.
/// The testnet runs the same replica with an outlet that strategies can be switched on in.
pub trait Outlet: Send {
    /// Called with the effects of each input as a whole, those inside writes included, before any is carried out.
    /// What it returns is carried out instead.
    fn pass(&mut self, now: Now, effects: Effects) -> Effects;

    /// Pushes the inputs that are handed to the protocol in place of `input`: just that, unless the replica is to be
    /// hard of hearing.
    fn hear(&mut self, now: Now, input: Input, heard: &mut VecDeque<Input>) {
        let _ = now;
        heard.push_back(input);
    }

    /// Carries out a `fault` command of the control socket; `command` is the whole request.
    ///
    /// # Errors
    /// One line for the person who asked.
    fn command(&mut self, command: &Value) -> Result<Value, String>;

    /// What the replica was made to suffer or to do, for its status; null is nothing.
    fn faults(&mut self) -> Value;
}

/// The outlet of a production replica.
#[derive(Clone, Copy, Debug, Default)]
pub struct Honest;

impl Outlet for Honest {
    fn pass(&mut self, _: Now, effects: Effects) -> Effects {
        effects
    }

    fn command(&mut self, _: &Value) -> Result<Value, String> {
        Err("this is a production replica and has no faults: run it as part of a testnet (`pbft-testnet up`)"
            .into())
    }

    fn faults(&mut self) -> Value {
        Value::Null
    }
}
