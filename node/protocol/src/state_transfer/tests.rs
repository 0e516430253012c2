//! Transfers from sources that are silent, slow, or the last ones.

use std::collections::VecDeque;

use pbft_messages::{Checkpoint, Endorsed, Message, Parameters};

use super::*;
use crate::testing::{Bench, LIAR};
use crate::{Input, Timer};

/// A replica that fetches a state from everybody, and gets nothing.
fn fetching() -> Bench {
    let mut bench = Bench::new(Parameters::default());
    let certificate = Proven::new(bench.stable(1280), &bench.configuration).expect("it is good");
    bench.message(ReplicaId(0), Message::Stable(certificate));
    next_transfer(&mut bench);
    bench
}

fn sources(bench: &Bench) -> Option<usize> {
    bench.replica.transfer.as_ref().map(|it| it.sources.len())
}

/// Goes on until the next transfer begins.
fn next_transfer(bench: &mut Bench) {
    bench.next_round();
    assert_eq!(sources(bench), Some(3));
}

fn rounds_until(bench: &mut Bench, left: Option<usize>) {
    assert!((0..100).any(|_| {
        bench.next_round();
        sources(bench) == left
    }));
}

fn patience(bench: &Bench) -> u32 {
    bench.replica.source_patience.quiet
}

/// The round's timer; nothing of what follows is forgotten.
fn round(bench: &mut Bench) {
    bench.now.instant = bench.now.instant.plus(bench.configuration.parameters().status_interval);
    bench.input(Input::Timer(Timer::Status));
}

/// What is asked for, and of whom.
fn asked(bench: &mut Bench) -> Vec<(u16, Part)> {
    let asked = bench.effects.drain(..).filter_map(|effect| match effect {
        Effect::Send { to, message: PeerMessage::FetchPart(id) } => Some((to.0, id.part)),
        _ => None,
    });
    asked.collect()
}

/// However long a slow line is given, what is lost on a quick one comes soon; and each part comes to a slow one a few times
/// only.
#[test]
fn a_quiet_source_is_asked_again_ever_less_often() {
    let mut bench = fetching();
    bench.replica.source_patience.quiet = PATIENCE.1;
    let mut again = vec![];
    for number in 1..=40 {
        round(&mut bench);
        let asked = asked(&mut bench);
        if !asked.is_empty() {
            assert_eq!(asked, [0, 1, 2].map(|source| (source, Part::Leaves(0))));
            again.push(number);
        }
    }
    assert_eq!(again, [5, 10, 20, 40]);
}

/// Where checkpoints come fast, a source that is asked late holds the snapshot no more.
#[test]
fn every_source_is_asked_at_once() {
    let mut bench = Bench::new(Parameters::default());
    let certificate = Proven::new(bench.stable(1280), &bench.configuration).expect("it is good");
    bench.message(ReplicaId(0), Message::Stable(certificate));
    round(&mut bench);
    assert_eq!(asked(&mut bench), [0, 1, 2].map(|source| (source, Part::Leaves(0))));
}

#[test]
fn patience_doubles_when_all_are_quiet_up_to_an_end() {
    let mut bench = fetching();
    for doubled in [20, 40, 40, 40] {
        rounds_until(&mut bench, None);
        assert_eq!(patience(&bench), doubled);
        next_transfer(&mut bench);
    }
}

/// A liar lets the others be dropped, and then says that it has nothing either.
#[test]
fn patience_doubles_however_the_last_source_was_lost() {
    for (others_are_dropped, doubled) in [(true, 20), (false, 10)] {
        let mut bench = fetching();
        if others_are_dropped {
            bench.next_round();
            let transfer = bench.replica.transfer.as_mut().unwrap();
            transfer.sources.get_mut(&LIAR).unwrap().quiet_rounds = 0;
            rounds_until(&mut bench, Some(1));
        }
        for replica in [0, 1, 2].map(ReplicaId) {
            bench.message(replica, Message::NoSnapshot(Sequence(1280)));
        }
        assert_eq!((sources(&bench), patience(&bench)), (None, doubled));
    }
}

/// A replica that fetches a state over lines that carry so much in a round.
struct Lines {
    bench: Bench,
    tree: MerkleTree,
    /// In how many rounds each source's line carries a chunk. Other answers are short.
    rounds_a_chunk: [u32; 3],
    /// Since which checkpoint each source holds snapshots.
    holds: [Sequence; 3],
    /// Whether every chunk differs from checkpoint to checkpoint.
    all_changes: bool,
    /// What each source has been asked for and has not given, in this order.
    questions: [VecDeque<PartId>; 3],
    rounds: u32,
    held: BTreeSet<u64>,
    installed: Option<Sequence>,
}

impl Lines {
    fn new(chunks: u64, rounds_a_chunk: [u32; 3]) -> Self {
        let leaves = (0..chunks).map(|index| MerkleTree::leaf(&index.to_le_bytes()));
        let mut lines = Self {
            bench: Bench::new(Parameters::default()),
            tree: MerkleTree::new(leaves.collect()),
            rounds_a_chunk,
            holds: [Sequence(0); 3],
            all_changes: false,
            questions: Default::default(),
            rounds: 0,
            held: BTreeSet::new(),
            installed: None,
        };
        lines.becomes_stable(1280);
        lines
    }

    fn becomes_stable(&mut self, sequence: u64) {
        let statement = Checkpoint { sequence: Sequence(sequence), root: self.tree.root() };
        let votes = [0, 1, 2].map(ReplicaId).map(|replica| {
            let vote = self.bench.sign(replica, statement.clone());
            (replica, *vote.signed().signature())
        });
        let certificate = Endorsed { statement, signatures: votes.into_iter().collect() };
        let certificate = Proven::new(certificate, &self.bench.configuration).expect("it is good");
        self.bench.message(LIAR, Message::Stable(certificate));
    }

    /// Goes on until a state is installed.
    fn rounds_until_installed(&mut self, most: u32) -> u32 {
        while self.installed.is_none() && self.rounds < most {
            self.round();
        }
        self.rounds
    }

    fn round(&mut self) {
        self.rounds += 1;
        round(&mut self.bench);
        self.carry_out();
        for source in 0..3 {
            let holds = self.holds[source];
            let from = ReplicaId(source as u16);
            let mut carries_chunk = self.rounds.is_multiple_of(self.rounds_a_chunk[source]);
            let mut can_answer = |id: &mut PartId| {
                let short = id.sequence < holds || matches!(id.part, Part::Leaves(_));
                short || std::mem::take(&mut carries_chunk)
            };
            while let Some(id) = self.questions[source].pop_front_if(&mut can_answer) {
                let answer =
                    if id.sequence < holds { Message::NoSnapshot(id.sequence) } else { self.part(id) };
                self.bench.message(from, answer);
                self.carry_out();
            }
        }
    }

    fn part(&self, PartId { sequence, part }: PartId) -> Message {
        match part {
            Part::Leaves(page) => {
                let (leaves, proof) = self.tree.page(page as usize).expect("there is one");
                let (leaves, count) = (leaves.to_vec(), self.tree.len() as u64);
                Message::Leaves(LeafPage { sequence, page, count, leaves, proof })
            }
            Part::Chunk(index) => {
                let content = Bytes::copy_from_slice(&index.to_le_bytes());
                Message::Chunk(Chunk { sequence, index, content })
            }
        }
    }

    fn carry_out(&mut self) {
        let mut effects = VecDeque::from(std::mem::take(&mut self.bench.effects));
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Send { to, message: PeerMessage::FetchPart(id) } => {
                    self.questions[usize::from(to.0)].push_back(id);
                }
                Effect::Gather { sequence, leaves } => {
                    if self.all_changes {
                        self.held.clear();
                    }
                    let missing = (0..leaves.len() as u64).filter(|index| !self.held.contains(index));
                    self.bench.input(Input::Gathering { sequence, missing: missing.collect() });
                }
                Effect::KeepChunk(Chunk { sequence, index, .. }) => {
                    self.held.insert(index);
                    self.bench.input(Input::ChunkKept { sequence, index });
                }
                Effect::Install(certificate) => self.installed = Some(certificate.get().statement.sequence),
                _ => {}
            }
            effects.extend(self.bench.effects.drain(..));
        }
    }
}

/// However slow a line is, it carries what is missing, and little of it twice.
#[test]
fn slow_lines_carry_what_is_missing() {
    for rounds_a_chunk in [2, 4, 5, 6, 8, 10, 15, 20, 30] {
        let mut lines = Lines::new(90, [rounds_a_chunk; 3]);
        let at_best = rounds_a_chunk * 90 / 3;
        let rounds = lines.rounds_until_installed(2 * at_best);
        assert!(lines.installed.is_some(), "{rounds} at {rounds_a_chunk} a chunk");
    }
}

/// The last source drips while the others hold a newer snapshot only.
#[test]
fn a_liar_that_drips_holds_no_transfer_for_long() {
    let mut lines = Lines::new(200, [9, 1, 1]);
    lines.holds = [Sequence(0), Sequence(1408), Sequence(1408)];
    lines.round();
    lines.becomes_stable(1408);
    let rounds = lines.rounds_until_installed(2000);
    assert_eq!(lines.installed, Some(Sequence(1408)));
    assert!(rounds < FEW + 110, "{rounds}");
}

/// The last source is correct, and the only one that holds what is asked for. Nothing of what it gives is in the next
/// checkpoint.
#[test]
fn a_last_source_that_is_slow_is_given_ever_more_time() {
    let mut lines = Lines::new(100, [2, 1, 1]);
    lines.holds = [Sequence(0), Sequence(u64::MAX), Sequence(u64::MAX)];
    lines.all_changes = true;
    let rounds = lines.rounds_until_installed(2000);
    assert_eq!(lines.installed, Some(Sequence(1280)));
    assert!(rounds < 3 * 200, "{rounds}");
}
