//! Requests that the core does not hear of yet.

use std::collections::VecDeque;
use std::time::Duration;

use pbft_messages::{ClientId, Message};
use pbft_protocol::{Input, Instant, Now};

/// The most requests held back at a time; later ones are never heard.
const HELD: usize = 16_384;

/// Requests held back, each for the same time, so that they come out in order.
#[derive(Debug)]
pub(crate) struct Holding {
    delay: Duration,
    held: VecDeque<(Instant, Input)>,
}

impl Holding {
    pub(crate) fn new(delay: Duration) -> Self {
        Self { delay, held: VecDeque::new() }
    }

    /// Holds an input back.
    pub(crate) fn hold(&mut self, now: Now, input: Input) {
        if self.held.len() < HELD {
            self.held.push_back((now.instant.plus(self.delay), input));
        }
    }

    /// Lets the core hear what has been held back for long enough. Nothing wakes a strategy up, but a replica's
    /// statuses are due all the time.
    pub(crate) fn release(&mut self, now: Now, heard: &mut VecDeque<Input>) {
        while let Some((_, input)) = self.held.pop_front_if(|(due, _)| *due <= now.instant) {
            heard.push_back(input);
        }
    }
}

/// Whose request an input brings, from the client itself or by way of a backup.
pub(crate) fn requester(input: &Input) -> Option<ClientId> {
    match input {
        Input::Submission(submission) | Input::Message { message: Message::Forward(submission), .. } => {
            Some(submission.signer())
        }
        _ => None,
    }
}
