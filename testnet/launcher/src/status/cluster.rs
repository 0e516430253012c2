//! Where a whole testnet stands.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use pbft_byzantine::Harm;
use pbft_messages::{Configuration, Quorum, ReplicaId, Reserve};

use super::{Lag, ReplicaStatus};
use crate::network::Trouble;

/// A whole testnet's standing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Each replica's.
    pub replicas: Vec<ReplicaStatus>,
    /// f: how many faulty replicas do no harm.
    pub faults_tolerated: usize,
    /// How many are dead, paused, without an answer, told to misbehave, recovering, or cut off.
    pub faults_in_use: usize,
    /// Q: how many replicas must work for service to go on.
    pub quorum: usize,
    /// How many work: they are not among the faulty, and they keep up.
    pub working: usize,
}

impl ClusterStatus {
    pub(crate) fn new(mut replicas: Vec<ReplicaStatus>, configuration: &Configuration) -> Self {
        let interval = configuration.parameters().checkpoint_interval;
        let stable = replicas.iter().filter(|it| it.is_correct()).filter_map(|it| it.stable).max();
        for it in &mut replicas {
            // A replica under load may be a few batches behind the fastest at any time.
            let far = stable.filter(|stable| it.last_executed.is_some_and(|at| at + interval <= *stable));
            it.lag = it.lag.or(far.map(|to| Lag::Behind { to }));
        }
        let lent: BTreeSet<_> = replicas.iter().flat_map(|it| it.accomplices.iter().copied()).collect();
        for it in &mut replicas {
            (it.lends_key, it.cut_off) = (lent.contains(&it.replica), false);
        }
        let cut_off: Vec<_> =
            replicas.iter().map(|it| is_cut_off(it, &replicas, configuration.quorum())).collect();
        for (it, cut_off) in replicas.iter_mut().zip(cut_off) {
            it.cut_off = cut_off;
        }
        Self {
            faults_tolerated: configuration.f(),
            faults_in_use: replicas.iter().filter(|it| it.is_faulty()).count(),
            quorum: configuration.quorum().get(),
            working: replicas.iter().filter(|it| it.works()).count(),
            replicas,
        }
    }

    /// Who counts against f, and why.
    #[must_use]
    pub fn faulty(&self) -> String {
        let named = |it: &ReplicaStatus| it.fault().map(|fault| format!("{} {fault}", it.replica));
        self.replicas.iter().filter_map(named).collect::<Vec<_>>().join(", ")
    }

    /// What is not promised any more, if more replicas are faulty than are tolerated.
    #[must_use]
    pub fn breaks(&self) -> Option<String> {
        let Self { faults_tolerated: tolerated, faults_in_use: used, quorum, .. } = *self;
        let count = |which: fn(&ReplicaStatus) -> bool| self.replicas.iter().filter(|it| which(it)).count();
        let liars = count(|it| it.harm() == Some(Harm::Disagreement));
        let forgetful = count(ReplicaStatus::lost_votes);
        // Apart from what they signed: one may do both.
        let storytellers = count(ReplicaStatus::may_mislead_clients);
        let taking_part = self.taking_part();
        (used > tolerated).then(|| {
            if liars > tolerated && liars == forgetful {
                format!(
                    "{forgetful} have forgotten their votes, and more than f = {tolerated} such lose the cluster: they cannot rejoin where too few are left that remember, and acknowledged writes may be lost"
                )
            } else if liars > tolerated {
                format!(
                    "with {liars} that may contradict what they signed, for they lie, may have lied or have forgotten it, correct replicas may execute different things and lose acknowledged writes"
                )
            } else if storytellers > tolerated {
                format!(
                    "with {storytellers} that may tell clients what is not so, clients may believe it; they cannot make correct replicas disagree"
                )
            } else if taking_part < quorum {
                format!(
                    "they cannot make correct replicas disagree, but service stands still until some come back, since it needs {quorum} replicas that take part, and {taking_part} are left"
                )
            } else {
                "they cannot make correct replicas disagree, but service may stand still".to_owned()
            }
        })
    }

    /// Whether some replica can do more harm than it could before.
    pub(crate) fn is_worse_than(&self, before: &Self) -> bool {
        self.replicas.iter().zip(&before.replicas).any(|(after, before)| after.harm() > before.harm())
    }

    /// How many do their part now, liars among them.
    fn taking_part(&self) -> usize {
        self.replicas.iter().filter(|it| it.takes_part()).count()
    }

    /// Whether service goes on, if only because replicas that misbehave let it.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.taking_part() >= self.quorum
    }

    /// How many of the tolerated faults are in use and by whom, and how far service is from standing still.
    #[must_use]
    pub fn budget(&self) -> String {
        let Self { faults_tolerated: f, faults_in_use: used, quorum, working, .. } = *self;
        let named = if used == 0 { String::new() } else { format!(" ({})", self.faulty()) };
        let next = match used.cmp(&f) {
            Ordering::Less => "",
            Ordering::Equal => ", no further fault is allowed",
            Ordering::Greater => ", more than f",
        };
        let reserve = Reserve::new(working, Quorum::of(self.replicas.len()));
        let service = match reserve.failures() {
            None if self.serves() => {
                format!("service hangs on those that misbehave: {working} of {quorum} replicas work")
            }
            // Who is in touch with a quorum now may be cut off by the death of one that both ends rely on.
            Some(1..) if self.is_divided() => format!("{reserve} at most, while links are severed"),
            _ => reserve.to_string(),
        };
        format!("faults: {used} of f = {f} used{named}{next}; {service}")
    }

    /// Whether a link between two replicas carries nothing.
    fn is_divided(&self) -> bool {
        let all = &self.replicas;
        all.iter().enumerate().any(|(place, one)| all[..place].iter().any(|other| is_severed(one, other)))
    }

    /// The primary, as most replicas that answer see it; `None` while they disagree about the view.
    #[must_use]
    pub fn primary(&self) -> Option<ReplicaId> {
        let view = self.view()?;
        let n = self.replicas.len() as u64;
        self.replicas.get((view % n) as usize).map(|status| status.replica)
    }

    /// The view that more than half of the correct replicas are in.
    #[must_use]
    pub fn view(&self) -> Option<u64> {
        let views: Vec<_> = self.correct().filter_map(|status| status.view).collect();
        let most =
            views.iter().copied().max_by_key(|view| views.iter().filter(|other| *other == view).count())?;
        (views.iter().filter(|view| **view == most).count() * 2 > views.len()).then_some(most)
    }

    /// The replicas that answer and were not told to misbehave, those that recover included: what they execute must be
    /// right as well.
    pub fn correct(&self) -> impl Iterator<Item = &ReplicaStatus> {
        self.replicas.iter().filter(|status| status.is_correct())
    }

    /// One replica's standing.
    #[must_use]
    pub fn of(&self, replica: ReplicaId) -> Option<&ReplicaStatus> {
        self.replicas.get(replica.index())
    }

    /// The state root of all correct replicas, and after which sequence, if they all have the same.
    #[must_use]
    pub fn common_root(&self) -> Option<(u64, String)> {
        let mut roots = self.correct().map(|status| (status.state_root_at, status.state_root.as_deref()));
        let (Some(sequence), Some(root)) = roots.next()? else { return None };
        roots.all(|other| other == (Some(sequence), Some(root))).then(|| (sequence, root.to_owned()))
    }
}

/// Whether a replica has severed links, and too few others left for a quorum: those that are not faulty themselves, and
/// whose link to it carries something.
fn is_cut_off(one: &ReplicaStatus, all: &[ReplicaStatus], quorum: Quorum) -> bool {
    let others = || all.iter().filter(|other| other.replica != one.replica);
    let in_touch = |other: &&ReplicaStatus| other.present_fault().is_none() && !is_severed(one, other);
    others().any(|other| is_severed(one, other)) && others().filter(in_touch).count() + 1 < quorum.get()
}

/// Whether the link between two replicas carries nothing.
fn is_severed(one: &ReplicaStatus, other: &ReplicaStatus) -> bool {
    Trouble::severs(one.troubles_with(other.replica).chain(other.troubles_with(one.replica)))
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{SecretKey, Signer as _};
    use pbft_messages::{Member, Parameters};

    use super::*;
    use crate::network::{Direction, LinkFault, Shape};

    fn status(views: &[Option<u64>]) -> ClusterStatus {
        let replicas = views.iter().enumerate().map(|(index, view)| {
            let silent = ReplicaStatus::silent(ReplicaId(index as u16), true);
            ReplicaStatus { view: *view, state_root: Some("aa".into()), state_root_at: Some(7), ..silent }
        });
        ClusterStatus::new(replicas.collect(), &configuration())
    }

    fn configuration() -> Configuration {
        let members = (0..4).map(|index| Member {
            key: SecretKey::from_seed(&[index as u8 + 1; 32]).public_key(),
            peer_address: ([127, 0, 0, 1], 1000 + index).into(),
            client_address: ([127, 0, 0, 1], 2000 + index).into(),
        });
        Configuration::new("test".into(), members.collect(), [], Parameters::default()).unwrap()
    }

    #[test]
    fn a_replica_that_is_down_or_far_behind_does_not_work() {
        let interval = configuration().parameters().checkpoint_interval;
        let standing = |executed: [Option<u64>; 4]| {
            let mut all = status(&executed).replicas;
            for (it, executed) in all.iter_mut().zip(executed) {
                (it.last_executed, it.stable) = (executed, executed.map(|it| it / interval * interval));
            }
            ClusterStatus::new(all, &configuration())
        };
        let at = 5 * interval + 3;
        let level = standing([Some(at), Some(at), Some(at - 4), Some(at)]);
        assert_eq!((level.working, level.serves()), (4, true));
        assert_eq!(level.budget(), "faults: 0 of f = 1 used; service survives 1 more crash");
        let behind = standing([Some(at), Some(at), Some(interval), Some(at)]);
        assert_eq!(behind.replicas[2].lag, Some(Lag::Behind { to: 5 * interval }));
        assert_eq!((behind.working, behind.faults_in_use, behind.serves()), (3, 0, true));
        let stopped = standing([Some(at), None, Some(interval), Some(at)]);
        assert!(!stopped.serves() && stopped.budget().ends_with("service is stopped: 2 of 3 replicas"));
    }

    #[test]
    fn a_replica_that_recovers_is_one_of_the_f_and_no_liar() {
        let mut all = status(&[Some(1), Some(1), Some(1), Some(1)]).replicas;
        all[2].recovering = true;
        // It fetches meanwhile, and is no less in need of others' votes for that.
        all[2].lag = Some(Lag::Fetching { to: 8, held: 0, chunks: None });
        let one = ClusterStatus::new(all, &configuration());
        assert_eq!((one.faults_in_use, one.working), (1, 3));
        assert_eq!(one.replicas[2].fault(), Some("recovering"));
        assert_eq!(one.correct().count(), 4);
    }

    /// The faulty of four replicas, after these troubles on these links.
    fn faulty(faults: &[(u16, u16, Trouble)], spoil: impl FnOnce(&mut [ReplicaStatus])) -> String {
        let mut all = status(&[Some(1); 4]).replicas;
        for (replica, peer, trouble) in faults {
            let fault = LinkFault { peer: ReplicaId(*peer), trouble: *trouble, left: None };
            all[usize::from(*replica)].network.push(fault);
        }
        spoil(&mut all);
        ClusterStatus::new(all, &configuration()).faulty()
    }

    #[test]
    fn who_has_no_quorum_left_is_cut_off() {
        let cut = Trouble::Cut(Direction::To);
        let bad = |loss: &str| Trouble::Bad(Shape { loss: loss.parse().unwrap(), ..Shape::default() });
        assert_eq!(faulty(&[(3, 0, cut), (3, 1, cut)], |_| ()), "r3 cut off");
        assert_eq!(faulty(&[(3, 0, cut)], |_| ()), "", "both ends still find a quorum");
        assert_eq!(faulty(&[(3, 0, bad("100%")), (1, 3, cut)], |_| ()), "r3 cut off");
        assert_eq!(faulty(&[(3, 0, bad("50%")), (1, 3, bad("50%"))], |_| ()), "", "slow is not cut");
        assert_eq!(faulty(&[(3, 0, bad("50%")), (0, 3, bad("50%"))], |_| ()), "", "one link is lost");
        let both = [(3, 0, bad("50%")), (0, 3, bad("50%")), (3, 1, bad("50%")), (1, 3, bad("50%"))];
        assert_eq!(faulty(&both, |_| ()), "r3 cut off", "what both ends lose adds up");
        let halves = [(0, 2, cut), (0, 3, cut), (1, 2, cut), (1, 3, cut)];
        assert_eq!(faulty(&halves, |_| ()), "r0 cut off, r1 cut off, r2 cut off, r3 cut off");
        let silent = |all: &mut [ReplicaStatus]| all[1].strategy = Some("silent".into());
        assert_eq!(faulty(&[(3, 0, cut)], silent), "r0 cut off, r1 silent, r3 cut off");
        assert_eq!(faulty(&[], silent), "r1 silent");
    }

    #[test]
    fn who_lends_its_key_counts() {
        let collude = |all: &mut [ReplicaStatus]| {
            all[1].strategy = Some("equivocate".into());
            all[1].accomplices = [ReplicaId(3)].into();
        };
        assert_eq!(faulty(&[], collude), "r1 equivocate, r3 lends its key");
    }

    #[test]
    fn who_may_have_lied_works_again_and_counts_for_ever() {
        let mut all = status(&[Some(1); 4]).replicas;
        all[0].has_lied = true;
        let one = ClusterStatus::new(all.clone(), &configuration());
        assert_eq!((one.faulty(), one.working, one.breaks()), ("r0 may have lied".to_owned(), 4, None));
        assert_eq!(one.correct().count(), 4, "what it executes must be right again");
        let told = "faults: 1 of f = 1 used (r0 may have lied), no further fault is allowed; service survives 1 more crash";
        assert_eq!(one.budget(), told);
        all[1].strategy = Some("equivocate".into());
        let two = ClusterStatus::new(all, &configuration());
        assert_eq!((two.faults_in_use, two.working), (2, 3));
        assert!(two.breaks().is_some_and(|it| it.contains("with 2 that may contradict")));
    }

    /// The status of four replicas of which two follow these strategies.
    fn following(strategies: [&str; 2]) -> ClusterStatus {
        let mut all = status(&[Some(1); 4]).replicas;
        for (it, strategy) in all.iter_mut().skip(1).zip(strategies) {
            it.strategy = Some(strategy.into());
        }
        ClusterStatus::new(all, &configuration())
    }

    #[test]
    fn what_breaks_follows_from_what_the_strategies_do() {
        let breaks = |strategies| following(strategies).breaks().unwrap();
        assert!(breaks(["silent", "silent"]).contains("service stands still until"));
        assert!(breaks(["silent", "lie"]).ends_with("service may stand still"));
        assert!(breaks(["slow", "starve"]).ends_with("service may stand still"));
        assert!(breaks(["lie", "stale-reads"]).starts_with("with 2 that may tell clients what is not so"));
        assert!(breaks(["lie", "equivocate"]).starts_with("with 2 that may tell clients what is not so"));
        assert!(breaks(["equivocate", "lie+equivocate"]).starts_with("with 2 that may contradict"));
    }

    #[test]
    fn who_has_lied_before_may_tell_stories_now() {
        let mut all = following(["lie", "lie"]).replicas;
        all[1].has_lied = true;
        let told = ClusterStatus::new(all.clone(), &configuration()).breaks().unwrap();
        assert!(told.starts_with("with 2 that may tell clients what is not so"), "{told}");
        all[1].strategy = None;
        let told = ClusterStatus::new(all, &configuration()).breaks().unwrap();
        assert!(told.ends_with("service may stand still"), "one alone is not believed: {told}");
    }

    #[test]
    fn more_than_f_that_have_forgotten_lose_the_cluster() {
        let mut all = status(&[Some(1); 4]).replicas;
        (all[2].alive, all[2].has_forgotten) = (false, true);
        let one = ClusterStatus::new(all.clone(), &configuration());
        assert_eq!(one.breaks(), None);
        all[3].recovering = true;
        let two = ClusterStatus::new(all.clone(), &configuration());
        assert!(two.is_worse_than(&one));
        assert!(two.breaks().unwrap().starts_with("2 have forgotten their votes, and more than f = 1"));
        (all[3].recovering, all[3].strategy) = (false, Some("equivocate".into()));
        let mixed = ClusterStatus::new(all, &configuration()).breaks().unwrap();
        assert!(mixed.starts_with("with 2 that may contradict"), "{mixed}");
    }

    #[test]
    fn a_severed_link_may_cut_off_more_than_who_crashes_next() {
        let mut all = status(&[Some(1); 4]).replicas;
        let trouble = Trouble::Cut(Direction::To);
        all[2].network.push(LinkFault { peer: ReplicaId(3), trouble, left: None });
        let divided = ClusterStatus::new(all.clone(), &configuration());
        assert_eq!((divided.faults_in_use, divided.working), (0, 4));
        let told = divided.budget();
        assert!(told.ends_with("survives 1 more crash at most, while links are severed"), "{told}");
        all[0].alive = false;
        let after = ClusterStatus::new(all, &configuration());
        assert!(!after.serves(), "{}", after.budget());
    }

    #[test]
    fn only_who_can_do_more_harm_than_before_is_worse() {
        let (none, liars) = (status(&[Some(1); 4]), following(["lie", "equivocate"]));
        assert!(liars.is_worse_than(&none) && !none.is_worse_than(&liars));
        assert!(!liars.is_worse_than(&liars), "though they are more than f");
        assert!(!following(["slow", "equivocate"]).is_worse_than(&liars));
        assert!(following(["equivocate", "equivocate"]).is_worse_than(&liars));
        let mut lost = liars.replicas.clone();
        lost[3].alive = false;
        assert!(ClusterStatus::new(lost, &configuration()).is_worse_than(&liars));
    }

    #[test]
    fn service_is_stopped_only_where_no_quorum_takes_part() {
        let hangs = following(["silent+slow", "equivocate"]);
        assert!(hangs.serves() && hangs.working == 2);
        let told = hangs.budget();
        assert!(
            told.ends_with("more than f; service hangs on those that misbehave: 2 of 3 replicas work"),
            "{told}"
        );
        let stopped = following(["silent", "slow+silent:kinds=all"]);
        assert!(!stopped.serves() && stopped.budget().contains("service is stopped"));
    }

    #[test]
    fn the_primary_is_known_when_most_agree_on_the_view() {
        assert_eq!(status(&[Some(5), Some(5), None, Some(5)]).primary(), Some(ReplicaId(1)));
        assert_eq!(status(&[Some(5), Some(5), None, Some(6)]).primary(), Some(ReplicaId(1)));
        assert_eq!(status(&[Some(5), Some(6), None, None]).primary(), None);
        assert_eq!(status(&[None; 4]).primary(), None);
    }

    #[test]
    fn a_common_root_is_that_of_all_correct_replicas() {
        let mut all = status(&[Some(1), Some(1), Some(1), Some(1)]);
        assert_eq!(all.common_root(), Some((7, "aa".into())));
        all.replicas[2].state_root = Some("bb".into());
        assert_eq!(all.common_root(), None);
        all.replicas[2].strategy = Some("equivocate".into());
        assert_eq!(all.common_root(), Some((7, "aa".into())));
        all.replicas[1].state_root_at = Some(8);
        assert_eq!(all.common_root(), None);
    }
}
