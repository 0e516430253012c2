use std::collections::VecDeque;
use std::time::Duration;

use pbft_protocol::{Effects, Input, Now};

use crate::holding::{Holding, requester};
use crate::{Identity, Strategy};

/// `slow`: a primary that sits on every request for some time before it proposes it, and is quick with all else.
///
/// By default the time is three quarters of the view timeout: agreement takes time too, and no timer is to end. While its replica is a backup it only
/// passes on late what reaches the primary anyway.
///
/// See [`crate::STRATEGIES`] for the rule that defeats it.
#[derive(Debug)]
pub struct Slow {
    requests: Holding,
}

impl Slow {
    pub(crate) const NAME: &'static str = "slow";

    /// The strategy for one replica; the delay has a default.
    #[must_use]
    pub fn new(identity: &Identity, delay: Option<Duration>) -> Self {
        let just_under = identity.configuration.parameters().view_timeout * 3 / 4;
        Self { requests: Holding::new(delay.unwrap_or(just_under)) }
    }
}

impl Strategy for Slow {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn hear(&mut self, now: Now, input: Input, heard: &mut VecDeque<Input>) {
        self.requests.release(now, heard);
        match requester(&input) {
            Some(_) => self.requests.hold(now, input),
            None => heard.push_back(input),
        }
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        effects
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Message, ReplicaId};
    use pbft_protocol::{Instant, Timer};

    use super::*;
    use crate::testing::{identity, submission};

    #[test]
    fn requests_are_heard_late_and_in_order_and_all_else_at_once() {
        let mut slow = Slow::new(&identity(4, ReplicaId(0)), None);
        let direct = Input::Submission(submission(1));
        let forwarded = Input::Message { from: ReplicaId(2), message: Message::Forward(submission(2)) };
        let tick = || Input::Timer(Timer::Status);
        let mut at = |milliseconds, input| {
            let instant = Instant::after_start(Duration::from_millis(milliseconds));
            let mut heard = VecDeque::new();
            slow.hear(Now { instant, ..Now::default() }, input, &mut heard);
            Vec::from(heard)
        };
        assert_eq!(at(0, direct.clone()), []);
        assert_eq!(at(100, forwarded.clone()), []);
        assert_eq!(at(749, tick()), [tick()]);
        assert_eq!(at(750, tick()), [direct, tick()]);
        assert_eq!(at(850, tick()), [forwarded, tick()]);
        assert_eq!(at(851, tick()), [tick()]);
    }
}
