//! Where one replica stands.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use pbft_byzantine::Harm;
use pbft_messages::ReplicaId;

use super::Lag;
use crate::network::{LinkFault, Trouble};
use crate::order::{Faults, Followed};
use crate::units::Time;

/// One replica's standing, as it says itself. What it did not say is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Which.
    pub replica: ReplicaId,
    /// Whether its process exists; a paused one's does.
    pub alive: bool,
    /// The last view it entered.
    pub view: Option<u64>,
    /// Whether it is that view's primary.
    pub is_primary: Option<bool>,
    /// The last sequence it executed.
    pub last_executed: Option<u64>,
    /// Its last stable checkpoint.
    pub stable: Option<u64>,
    /// Whether it has lost its votes and votes nothing yet: until then it is one of the f (D8). It may be fetching a
    /// state meanwhile, which `lag` then names.
    pub recovering: bool,
    /// Why it is no help to service yet, if it is none.
    pub lag: Option<Lag>,
    /// The Merkle root of its executed state, in hexadecimal digits.
    pub state_root: Option<String>,
    /// After which sequence the state has that root.
    pub state_root_at: Option<u64>,
    /// The malicious strategy that it was told to follow.
    pub strategy: Option<String>,
    /// For how long it follows it still; `None` is until it is cleared.
    pub strategy_left: Option<Time>,
    /// The others whose keys it has.
    pub accomplices: BTreeSet<ReplicaId>,
    /// How many messages its strategies have altered, withheld or made since its process started.
    #[serde(default)]
    pub altered: u64,
    /// What is wrong with its links to the others, as it was told.
    pub network: Vec<LinkFault>,
    /// Whether another one that misbehaves has its key: then anything may be said in its name.
    pub lends_key: bool,
    /// Whether it was ever told to sign contradictions, in its own process or with its key. It may behave now, but what
    /// it signed, if it came to that, cannot be unsaid.
    #[serde(default)]
    pub has_lied: bool,
    /// Whether it has ended, and kept its votes in memory only: it can come back by recovery alone (D8).
    #[serde(default)]
    pub has_forgotten: bool,
    /// Whether links that carry nothing keep it from those that it would need for a quorum.
    pub cut_off: bool,
}

impl ReplicaStatus {
    pub(crate) fn silent(replica: ReplicaId, alive: bool) -> Self {
        Self {
            replica,
            alive,
            view: None,
            is_primary: None,
            last_executed: None,
            stable: None,
            recovering: false,
            lag: None,
            state_root: None,
            state_root_at: None,
            strategy: None,
            strategy_left: None,
            accomplices: BTreeSet::new(),
            altered: 0,
            network: Vec::new(),
            lends_key: false,
            has_lied: false,
            has_forgotten: false,
            cut_off: false,
        }
    }

    /// One that runs, with what it tells of its faults. A production replica tells nothing.
    pub(super) fn afflicted(replica: ReplicaId, faults: serde_json::Value) -> Self {
        let Faults { strategy, altered, network } = serde_json::from_value(faults).unwrap_or_default();
        let mut status = Self { altered, network, ..Self::silent(replica, true) };
        if let Some(Followed { text, accomplices, left }) = strategy {
            (status.strategy, status.strategy_left, status.accomplices) = (Some(text), left, accomplices);
        }
        status
    }

    /// Why the replica counts against f, if it does: its strategy's name, for one.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.present_fault().or(self.has_lied.then_some("may have lied"))
    }

    /// What is wrong with the replica now.
    pub(super) fn present_fault(&self) -> Option<&str> {
        match &self.strategy {
            _ if !self.alive => Some("dead"),
            _ if self.view.is_none() => Some("no answer"),
            Some(strategy) => Some(strategy),
            None if self.lends_key => Some("lends its key"),
            None if self.recovering => Some("recovering"),
            None => self.cut_off.then_some("cut off"),
        }
    }

    /// The worst that more than f replicas could do that stand as this one does; `None` if it is not faulty. Who has lied,
    /// or forgotten what it said, may contradict what it signed before.
    #[must_use]
    pub fn harm(&self) -> Option<Harm> {
        match &self.strategy {
            _ if self.has_lied || self.lends_key || self.lost_votes() => Some(Harm::Disagreement),
            Some(strategy) => Some(harm_of(strategy)),
            None => self.is_faulty().then_some(Harm::Standstill),
        }
    }

    /// Whether it does not know what it has signed (D8).
    pub(super) fn lost_votes(&self) -> bool {
        self.recovering || self.has_forgotten
    }

    /// Whether it may tell clients what is not so, as it stands now.
    pub(super) fn may_mislead_clients(&self) -> bool {
        self.lends_key || self.strategy.as_deref().is_some_and(|text| harm_of(text) >= Harm::FalseAnswers)
    }

    /// What is wrong with its end of the link to another replica.
    pub(super) fn troubles_with(&self, peer: ReplicaId) -> impl Iterator<Item = Trouble> {
        self.network.iter().filter(move |it| it.peer == peer).map(|it| it.trouble)
    }

    /// What is wrong with it, each in a few words: why it counts against f, and what it was told to do and to suffer.
    #[must_use]
    pub fn afflictions(&self) -> Vec<String> {
        // A strategy is told with the rest of what it was told to do.
        let fault = self.fault().filter(|fault| self.strategy.as_deref() != Some(*fault));
        let left = |left: Time| format!(" for {:.1} s more", left.0.as_secs_f64());
        let lasting = |time: Option<Time>| time.map_or(String::new(), left);
        let with = self.accomplices.iter().map(|it| format!(" with {it}")).collect::<String>();
        let strategy =
            self.strategy.iter().map(|text| format!("{text}{with}{}", lasting(self.strategy_left)));
        let network = grouped(&self.network);
        let network = network.iter().map(|(trouble, left, peers)| {
            let peers: Vec<_> = peers.iter().map(ToString::to_string).collect();
            format!("{trouble} {}{}", peers.join(" "), lasting(*left))
        });
        fault.map(str::to_owned).into_iter().chain(strategy).chain(network).collect()
    }

    /// Whether the replica counts against f.
    #[must_use]
    pub fn is_faulty(&self) -> bool {
        self.fault().is_some()
    }

    /// Whether what the replica says of its state must be right.
    pub(crate) fn is_correct(&self) -> bool {
        self.view.is_some() && self.strategy.is_none() && !self.lends_key
    }

    /// Whether service can count on the replica now.
    #[must_use]
    pub fn works(&self) -> bool {
        self.present_fault().is_none() && self.lag.is_none()
    }

    /// Whether the replica does its part now, though it may be a liar's.
    pub(super) fn takes_part(&self) -> bool {
        let answers = self.alive && self.view.is_some() && !self.recovering && !self.cut_off;
        let is_silent =
            |text: &String| text.split('+').any(|it| matches!(it.trim(), "silent" | "silent:kinds=all"));
        answers && self.lag.is_none() && !self.strategy.as_ref().is_some_and(is_silent)
    }
}

/// The worst that a strategy may do.
pub(crate) fn harm_of(strategy: &str) -> Harm {
    let described = pbft_byzantine::described(strategy).unwrap_or_default();
    // A text that is not known may mean anything.
    described.iter().map(|it| it.harm()).max().unwrap_or(Harm::Disagreement)
}

/// The links with the same trouble for the same time, together.
fn grouped(faults: &[LinkFault]) -> Vec<(Trouble, Option<Time>, Vec<ReplicaId>)> {
    let mut groups: Vec<(Trouble, Option<Time>, Vec<ReplicaId>)> = Vec::new();
    for LinkFault { peer, trouble, left } in faults {
        match groups.iter_mut().find(|(other, until, _)| (other, until) == (trouble, left)) {
            Some((.., peers)) => peers.push(*peer),
            None => groups.push((*trouble, *left, vec![*peer])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Direction, Shape};

    #[test]
    fn afflictions_are_told_together_where_they_are_the_same() {
        let mut one = ReplicaStatus { view: Some(1), ..ReplicaStatus::silent(ReplicaId(0), true) };
        (one.strategy, one.strategy_left) = (Some("silent".into()), "8s".parse().ok());
        let late = Trouble::Bad(Shape { latency: "50ms".parse().unwrap(), ..Shape::default() });
        for (peer, trouble) in [(1, late), (2, late), (3, Trouble::Cut(Direction::From))] {
            one.network.push(LinkFault { peer: ReplicaId(peer), trouble, left: None });
        }
        let told = ["silent for 8.0 s more", "latency 50ms with r1 r2", "nothing comes from r3"];
        assert_eq!(one.afflictions(), told);
        (one.strategy, one.cut_off) = (None, true);
        assert_eq!(one.afflictions(), ["cut off", told[1], told[2]]);
        let past = ReplicaStatus { has_lied: true, network: Vec::new(), cut_off: false, ..one };
        assert_eq!(past.afflictions(), ["may have lied"]);
        assert_eq!(ReplicaStatus::silent(ReplicaId(0), false).afflictions(), ["dead"]);
    }

    #[test]
    fn who_lies_or_forgot_can_do_more_harm_than_who_is_gone() {
        let one = ReplicaStatus { view: Some(1), ..ReplicaStatus::silent(ReplicaId(0), true) };
        let following = |text: &str| ReplicaStatus { strategy: Some(text.into()), ..one.clone() }.harm();
        assert_eq!((one.harm(), following("slow+silent")), (None, Some(Harm::Standstill)));
        assert_eq!(following("slow+lie"), Some(Harm::FalseAnswers));
        assert_eq!(following("lie+equivocate"), Some(Harm::Disagreement));
        assert_eq!(ReplicaStatus::silent(ReplicaId(0), false).harm(), Some(Harm::Standstill));
        assert_eq!(ReplicaStatus { recovering: true, ..one.clone() }.harm(), Some(Harm::Disagreement));
        let gone = ReplicaStatus { has_forgotten: true, ..ReplicaStatus::silent(ReplicaId(0), false) };
        assert_eq!((gone.fault(), gone.harm()), (Some("dead"), Some(Harm::Disagreement)));
        assert_eq!(ReplicaStatus { has_lied: true, ..one.clone() }.harm(), Some(Harm::Disagreement));
    }

    #[test]
    fn the_json_is_as_scripts_expect_it() {
        let text = serde_json::to_string(&ReplicaStatus::silent(ReplicaId(2), false)).unwrap();
        assert_eq!(
            text,
            "{\"replica\":\"r2\",\"alive\":false,\"view\":null,\"is_primary\":null,\"last_executed\":null,\
             \"stable\":null,\"recovering\":false,\"lag\":null,\"state_root\":null,\"state_root_at\":null,\"strategy\":null,\"strategy_left\":null,\
             \"accomplices\":[],\"altered\":0,\"network\":[],\"lends_key\":false,\"has_lied\":false,\"has_forgotten\":false,\"cut_off\":false}"
        );
    }
}
