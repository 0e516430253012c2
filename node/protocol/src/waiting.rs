//! Requests that wait for execution (N8), keyed by client, session and number: execution clears them whatever
//! their digest, so a client that sends different requests to different replicas forces nothing (fault 28).

use std::collections::{BTreeMap, BTreeSet};

use pbft_crypto::Verified;
use pbft_messages::{ClientId, Parameters, RequestId, Submission};

use crate::Instant;

/// The waiting submissions, oldest first. Bounded in all, and for each client.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    submissions: BTreeMap<Arrival, Waiter>,
    /// Those that stand in no proposal of the active view, and what is in them.
    unproposed: BTreeSet<Arrival>,
    unproposed_load: Load,
    requests: BTreeMap<RequestId, Arrival>,
    all: Load,
    by_client: BTreeMap<ClientId, Load>,
    next: Arrival,
    /// The first that was not passed on to the primary.
    held: Arrival,
    /// Those that their clients repeated in this round.
    repeated: BTreeSet<Arrival>,
}

/// How much waits, or may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) requests: usize,
    /// Of operations.
    pub(crate) bytes: usize,
}

impl Load {
    fn of(submission: &Submission) -> Self {
        Self { requests: submission.requests().len(), bytes: submission.operation_bytes() }
    }

    /// So much, or one full submission.
    fn or_one_submission(self) -> Self {
        Self { requests: self.requests.max(Submission::MAXIMUM_REQUESTS), ..self }
    }

    /// What all of so many replicas may have waiting.
    pub(crate) fn of_all(self, replicas: usize) -> Self {
        Self { requests: self.requests * replicas, bytes: self.bytes * replicas }
    }

    fn half(self) -> Self {
        Self { requests: self.requests / 2, bytes: self.bytes / 2 }
    }

    fn fits(self, limit: Self) -> bool {
        self.requests <= limit.requests && self.bytes <= limit.bytes
    }

    fn plus(self, other: Self) -> Self {
        Self { requests: self.requests + other.requests, bytes: self.bytes + other.bytes }
    }

    fn minus(self, other: Self) -> Self {
        Self { requests: self.requests - other.requests, bytes: self.bytes - other.bytes }
    }
}

type Arrival = u64;

#[derive(Debug)]
struct Waiter {
    submission: Verified<Submission>,
    since: Instant,
    /// How many of its requests still wait.
    requests: usize,
}

/// What became of a submission that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It waits now.
    New,
    /// All its requests were waiting already.
    Known,
    /// Too much is waiting, or some of its requests wait in another submission.
    Full,
}

impl Waiting {
    /// Lets a submission wait, within `limit` in all. One client may have as much waiting as is left then, or one full
    /// submission: so one alone takes half of all, two take a third each, and they leave room for the next.
    ///
    /// Submissions that share requests share no batch, so a few requests could keep many batches busy. No client needs
    /// that; one that does it waits until the first of them is executed.
    pub(crate) fn insert(
        &mut self,
        submission: &Verified<Submission>,
        limit: Load,
        now: Instant,
    ) -> Admission {
        let mut waits = submission.value().ids(submission.signer()).map(|id| self.requests.contains_key(&id));
        let first = waits.next();
        if waits.any(|it| Some(it) != first) {
            return Admission::Full;
        }
        self.insert_within(submission, limit, |all| limit.minus(all).or_one_submission(), now)
    }

    /// Lets a submission wait that another replica has let wait, within what `replicas` may in all, each within `limit`, and
    /// half of that for each client: with [`Waiting::insert`] they let no client have more, whoever came before it, and what
    /// they pass on comes in another order.
    pub(crate) fn insert_forwarded(
        &mut self,
        submission: &Verified<Submission>,
        limit: Load,
        replicas: usize,
        now: Instant,
    ) -> Admission {
        let share = limit.half().or_one_submission().of_all(replicas);
        self.insert_within(submission, limit.of_all(replicas), |_| share, now)
    }

    /// Lets a submission wait, within `limit` in all and, for its client, within what `share` makes of all that waits then.
    fn insert_within(
        &mut self,
        submission: &Verified<Submission>,
        limit: Load,
        share: impl Fn(Load) -> Load,
        now: Instant,
    ) -> Admission {
        let client = submission.signer();
        let new: Vec<_> =
            submission.value().ids(client).filter(|id| !self.requests.contains_key(id)).collect();
        if new.is_empty() {
            return Admission::Known;
        }
        // All of it goes into a batch, whatever waits elsewhere already.
        let load = Load::of(submission.value());
        let of_client = self.by_client.get(&client).copied().unwrap_or_default().plus(load);
        let all = self.all.plus(load);
        if !all.fits(limit) || !of_client.fits(share(all)) {
            return Admission::Full;
        }
        let arrival = self.next;
        self.next += 1;
        self.all = all;
        self.by_client.insert(client, of_client);
        let waiter = Waiter { submission: submission.clone(), since: now, requests: new.len() };
        self.submissions.insert(arrival, waiter);
        self.unproposed.insert(arrival);
        self.unproposed_load = self.unproposed_load.plus(Load::of(submission.value()));
        self.requests.extend(new.into_iter().map(|id| (id, arrival)));
        Admission::New
    }

    /// Clears a request that was executed, or refused in its place in the order; says since when it waited, if it did.
    pub(crate) fn executed(&mut self, id: RequestId) -> Option<Instant> {
        let arrival = self.requests.remove(&id)?;
        let waiter = self.submissions.get_mut(&arrival)?;
        let since = waiter.since;
        waiter.requests -= 1;
        if waiter.requests == 0 {
            let load = Load::of(waiter.submission.value());
            self.submissions.remove(&arrival);
            self.repeated.remove(&arrival);
            if self.unproposed.remove(&arrival) {
                self.unproposed_load = self.unproposed_load.minus(load);
            }
            self.all = self.all.minus(load);
            if let Some(of_client) = self.by_client.get_mut(&id.client) {
                *of_client = of_client.minus(load);
                if *of_client == Load::default() {
                    self.by_client.remove(&id.client);
                }
            }
        }
        Some(since)
    }

    /// Forgets everything: after a state transfer nobody here knows what was executed. Clients ask again.
    pub(crate) fn clear(&mut self) {
        let next = self.next;
        *self = Self { next, held: next, ..Self::default() };
    }

    /// The number of waiting requests.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// How many of them are of the client that has most.
    pub(crate) fn fullest(&self) -> usize {
        self.by_client.values().map(|load| load.requests).max().unwrap_or_default()
    }

    /// The bytes of their operations.
    pub(crate) fn bytes(&self) -> usize {
        self.all.bytes
    }

    /// Since when the oldest waits.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.submissions.values().next().map(|waiter| waiter.since)
    }

    /// Since when the oldest waits that was not proposed.
    pub(crate) fn oldest_unproposed(&self) -> Option<Instant> {
        let arrival = self.unproposed.first()?;
        self.submissions.get(arrival).map(|waiter| waiter.since)
    }

    /// The waiting submissions, oldest first.
    pub(crate) fn submissions(&self) -> impl Iterator<Item = &Verified<Submission>> {
        self.submissions.values().map(|waiter| &waiter.submission)
    }

    /// The oldest submissions that were not passed on, up to the first that is not `due` by the time since which it waits.
    /// They count as passed on.
    pub(crate) fn pass_on(&mut self, due: impl Fn(Instant) -> bool) -> Vec<Verified<Submission>> {
        let due = self.submissions.range(self.held..).take_while(|(_, waiter)| due(waiter.since));
        let passed: Vec<_> = due.map(|(arrival, waiter)| (*arrival, waiter.submission.clone())).collect();
        self.held = passed.last().map_or(self.held, |(last, _)| last + 1);
        passed.into_iter().map(|(_, submission)| submission).collect()
    }

    /// What waits of a submission that came again, the first time in a round.
    pub(crate) fn repeat(
        &mut self,
        submission: &Submission,
        client: ClientId,
    ) -> Option<&Verified<Submission>> {
        let arrival = *self.requests.get(&submission.ids(client).next()?)?;
        let is_first = self.repeated.insert(arrival);
        self.submissions.get(&arrival).filter(|_| is_first).map(|waiter| &waiter.submission)
    }

    /// A round ends.
    pub(crate) fn end_round(&mut self) {
        self.repeated.clear();
    }

    /// Forgets what was passed on: there is another primary.
    pub(crate) fn restart_passing_on(&mut self) {
        self.held = 0;
        self.repeated.clear();
    }

    /// Forgets which submissions were proposed, but for those whose requests all stand in `proposed`.
    pub(crate) fn restart_proposals(&mut self, proposed: &BTreeSet<RequestId>) {
        // Two submissions may share a request; it waits under the first of them.
        let stands = |arrival: &Arrival, waiter: &Waiter| {
            let client = waiter.submission.signer();
            let mut own = waiter.submission.value().ids(client);
            own.all(|id| self.requests.get(&id) != Some(arrival) || proposed.contains(&id))
        };
        let unproposed = || self.submissions.iter().filter(|(arrival, waiter)| !stands(arrival, waiter));
        let loads = unproposed().map(|(_, waiter)| Load::of(waiter.submission.value()));
        let (load, arrivals) =
            (loads.fold(Load::default(), Load::plus), unproposed().map(|(arrival, _)| *arrival));
        (self.unproposed, self.unproposed_load) = (arrivals.collect(), load);
    }

    /// Whether something waits that was not proposed.
    pub(crate) fn has_unproposed(&self) -> bool {
        !self.unproposed.is_empty()
    }

    /// What waits and was not proposed.
    pub(crate) fn unproposed(&self) -> Load {
        self.unproposed_load
    }

    /// Takes the oldest unproposed submissions that fit in one batch, and marks them as proposed. No request stands
    /// twice among them.
    pub(crate) fn next_batch(&mut self, limits: &Parameters) -> Vec<Verified<Submission>> {
        let (mut batch, mut seen, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
        let mut taken = Vec::new();
        for arrival in &self.unproposed {
            let Some(waiter) = self.submissions.get(arrival) else { continue };
            let (client, submission) = (waiter.submission.signer(), waiter.submission.value());
            let load = Load::of(submission);
            if seen.len() + load.requests > limits.batch_requests || bytes + load.bytes > limits.batch_bytes {
                break;
            }
            if submission.ids(client).any(|id| seen.contains(&id)) {
                continue;
            }
            seen.extend(submission.ids(client));
            bytes += load.bytes;
            taken.push((*arrival, load));
            batch.push(waiter.submission.clone());
        }
        for (arrival, load) in taken {
            self.unproposed.remove(&arrival);
            self.unproposed_load = self.unproposed_load.minus(load);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pbft_crypto::{Digest, Domain, Scope, SecretKey, Signer as _};
    use pbft_messages::{RequestNumber, SessionId};

    use super::*;

    const MANY: Load = Load { requests: 1000, bytes: 1 << 20 };

    fn submission(seed: u8, first: u64, count: usize) -> Verified<Submission> {
        let key = SecretKey::from_seed(&[seed; 32]);
        let scope = Scope { cluster: Digest::of(Domain::Cluster, b"test"), epoch: 0 };
        let operations = vec![Bytes::from_static(b"0123456789"); count];
        let value = Submission::Requests { session: SessionId(1), first: RequestNumber(first), operations };
        Verified::sign(value, key.public_key().into(), &key, &scope)
    }

    fn ids(submission: &Verified<Submission>) -> Vec<RequestId> {
        submission.value().ids(submission.signer()).collect()
    }

    #[test]
    fn batches_are_filled_in_order_of_arrival_and_within_limits() {
        let limits = Parameters { batch_requests: 64, ..Parameters::default() };
        let mut waiting = Waiting::default();
        for number in 0..3 {
            waiting.insert(&submission(1, 1 + 30 * number, 30), MANY, Instant::default());
        }
        assert_eq!(waiting.next_batch(&limits).len(), 2);
        assert_eq!(waiting.next_batch(&limits).len(), 1);
        assert!(waiting.next_batch(&limits).is_empty());
        assert_eq!(waiting.len(), 90, "proposed submissions go on waiting until they are executed");
        waiting.restart_proposals(&ids(&submission(1, 31, 30)).into_iter().collect());
        assert_eq!(waiting.next_batch(&limits).len(), 2);
    }

    #[test]
    fn a_request_never_stands_twice_in_a_batch() {
        let mut waiting = Waiting::default();
        waiting.insert(&submission(1, 1, 2), MANY, Instant::default());
        assert_eq!(waiting.insert(&submission(1, 2, 1), MANY, Instant::default()), Admission::Known);
        assert_eq!(
            waiting.insert_forwarded(&submission(1, 2, 2), MANY, 4, Instant::default()),
            Admission::New
        );
        assert_eq!(waiting.next_batch(&Parameters::default()).len(), 1);
    }

    /// N8: each of them would fill a batch for the sake of one new request.
    #[test]
    fn submissions_that_overlap_wait_one_after_the_other() {
        let mut waiting = Waiting::default();
        let [first, second] = [1, 2].map(|number| submission(1, number, 64));
        assert_eq!(waiting.insert(&first, MANY, Instant::default()), Admission::New);
        assert_eq!(waiting.insert(&second, MANY, Instant::default()), Admission::Full);
        ids(&first).into_iter().for_each(|id| assert!(waiting.executed(id).is_some()));
        assert_eq!(waiting.insert(&second, MANY, Instant::default()), Admission::New);
        // A backup times what it passes on, whatever waits here.
        assert_eq!(waiting.insert_forwarded(&first, MANY, 4, Instant::default()), Admission::New);
        assert_eq!((waiting.all.requests, waiting.len()), (128, 65), "all of it goes into a batch");
        ids(&second).into_iter().for_each(|id| assert!(waiting.executed(id).is_some()));
        assert_eq!((waiting.all.requests, waiting.len()), (64, 1));
    }

    /// Fault 28: execution clears by name, whatever was executed under it.
    #[test]
    fn fault_28_execution_clears_by_name() {
        let mut waiting = Waiting::default();
        let both = submission(1, 1, 2);
        waiting.insert(&both, MANY, Instant::default());
        waiting.executed(ids(&both)[0]);
        assert!(waiting.oldest().is_some());
        waiting.executed(ids(&both)[1]);
        assert_eq!((waiting.oldest(), waiting.len(), waiting.by_client.len()), (None, 0, 0));
        assert_eq!(waiting.all, Load::default());
    }

    #[test]
    fn one_client_cannot_fill_it() {
        let mut waiting = Waiting::default();
        let limit = Load { requests: 600, ..MANY };
        let mut taken = |client| {
            let submissions = (0..30).map(|number| submission(client, 1 + 20 * number, 20));
            let admitted = submissions
                .filter(|submission| waiting.insert(submission, limit, Instant::default()) == Admission::New);
            admitted.count() * 20
        };
        assert_eq!([1, 2, 3].map(&mut taken), [300, 140, 80], "as much as is left");
        assert_eq!([4, 5].map(taken), [60, 20], "a full submission, and then it is full");
    }

    /// N8: a backup times what it has let wait, so the primary takes it, though others' came before.
    #[test]
    fn what_all_backups_let_one_client_have_has_room_at_the_primary() {
        let limit = Load { requests: 600, ..MANY };
        let mut let_in = Vec::new();
        for backup in 0..3 {
            let mut waiting = Waiting::default();
            for client in [1, 2, 3] {
                let own = (0..).map(|number| submission(client, 1 + 1000 * backup + 20 * number, 20));
                let admitted = |it: &_| waiting.insert(it, limit, Instant::default()) == Admission::New;
                let_in.extend(own.take_while(admitted).map(|it| (client, it)));
            }
        }
        let_in.sort_by_key(|(client, _)| std::cmp::Reverse(*client));
        let mut primary = Waiting::default();
        let mut passed_on = |it: &_| primary.insert_forwarded(it, limit, 4, Instant::default());
        assert!(let_in.iter().all(|(_, it)| passed_on(it) == Admission::New));
        let of_first = let_in.iter().filter(|(client, _)| *client == 1);
        assert_eq!(of_first.count() * 20, 3 * 300);
        let more = (0..).map(|number| submission(1, 20_000 + 20 * number, 20));
        let taken = more.take_while(|it| passed_on(it) == Admission::New);
        assert_eq!(taken.count() * 20, 300, "as much as at one replica more, whatever a liar passes on");
    }

    /// R1: a few large requests fill it as many small ones do.
    #[test]
    fn it_is_bounded_in_bytes() {
        let limit = Load { requests: 1000, bytes: 1000 };
        let mut waiting = Waiting::default();
        let mut insert =
            |seed, first| waiting.insert(&submission(seed, first, 25), limit, Instant::default());
        assert_eq!([insert(1, 1), insert(1, 26)], [Admission::New; 2]);
        assert_eq!(insert(1, 51), Admission::Full, "500 bytes are one client's share");
        assert_eq!([insert(2, 1), insert(3, 1)], [Admission::New, Admission::Full]);
        for id in ids(&submission(1, 1, 25)) {
            assert_eq!(waiting.executed(id), Some(Instant::default()));
        }
        assert_eq!(waiting.insert(&submission(3, 1, 25), limit, Instant::default()), Admission::New);
    }
}
