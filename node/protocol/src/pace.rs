//! How much may wait (N8): a replica sheds clients before they would have to wait for half the view timeout, so that
//! overload alone makes nobody ask for another view.

use pbft_messages::Parameters;

/// How many rounds of statuses the pace is averaged over.
const ROUNDS: usize = 10;

/// What may wait however slow execution is: one full submission, so that a cluster that was idle can start.
const FLOOR: usize = 64;

/// How many requests were executed of late.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    current: usize,
    rounds: [usize; ROUNDS],
    next: usize,
}

impl Pace {
    /// Notes executed requests.
    pub(crate) fn executed(&mut self, requests: usize) {
        self.current += requests;
    }

    /// Ends a round, which lasts for one status interval.
    pub(crate) fn end_round(&mut self) {
        self.rounds[self.next] = std::mem::take(&mut self.current);
        self.next = (self.next + 1) % ROUNDS;
    }

    /// How many requests may wait: as many as are executed in half the view timeout.
    pub(crate) fn limit(&self, parameters: &Parameters) -> usize {
        let executed = self.rounds.iter().sum::<usize>() as u128;
        let measured = parameters.status_interval.as_micros().max(1) * ROUNDS as u128;
        let expected = executed * (parameters.view_timeout.as_micros() / 2) / measured;
        let limit = usize::try_from(expected).unwrap_or(usize::MAX);
        limit.clamp(FLOOR.min(parameters.waiting_requests), parameters.waiting_requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_wait_follows_what_is_executed() {
        let parameters = Parameters::default();
        let mut pace = Pace::default();
        assert_eq!(pace.limit(&parameters), FLOOR);
        for _ in 0..ROUNDS {
            pace.executed(1000);
            pace.end_round();
        }
        // 1000 in each 100 ms; half the timeout is 500 ms.
        assert_eq!(pace.limit(&parameters), 5000);
        for _ in 0..ROUNDS {
            pace.end_round();
        }
        assert_eq!(pace.limit(&parameters), FLOOR);
    }
}
