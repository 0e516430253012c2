//! What a broken guarantee means, and why it broke, for people.

use pbft_messages::{Quorum, ReplicaId};
use pbft_simulator::Invariant;
use pbft_simulator::scenario::{Action, Scenario};

/// The guarantee, in a few words.
pub(crate) fn meaning(invariant: Invariant) -> &'static str {
    match invariant {
        Invariant::I1 => "agreement: correct replicas execute the same batches and have the same state",
        Invariant::I2 => "validity: what is executed was signed by a client",
        Invariant::I3 => "exactly once: no request is executed twice",
        Invariant::I4 => "linearizability: the order fits what clients saw",
        Invariant::I5 => "durability: what a client was told of stays executed",
        Invariant::I6 => "certificates: they verify, and none conflict",
        Invariant::I7 => "bounds: every queue and log keeps within its own",
        Invariant::I8 => {
            "liveness: once the faults end, what waits is executed; load alone changes no view, and delays nobody for long"
        }
        Invariant::I9 => "evidence: liars are proven guilty, and nobody else is",
        Invariant::N5 => "reads: they show a state that is no older than what the client knew of",
        Invariant::N6 => "time: it is the same everywhere, and rises",
        Invariant::D1 => {
            "durability of votes: a COMMIT leaves only when its certificate and body are on disk"
        }
        Invariant::D2 => {
            "durability of proposals: they and PREPAREs leave only when they are reserved on disk"
        }
        Invariant::D3 => {
            "durability of view changes: what asks for a view or opens it leaves only from disk, and nothing new follows \
             in a view that was left"
        }
        Invariant::D4 => {
            "durability of decisions: what is executed is noted as committed, never prepared only"
        }
        Invariant::D5 => {
            "durability of the log: it goes only when a checkpoint is certified and its state on disk"
        }
        Invariant::C1 => "checkpoints: they are on disk before they are told, and the stable one never falls",
        Invariant::VC8 => "views: they never go down",
        Invariant::Halt => "service: no correct replica stops for good",
        Invariant::Panic => "robustness: nothing that is received makes the code panic",
    }
}

/// Why it broke; `None` where no more replicas are faulty than are tolerated.
pub(super) fn reason(scenario: &Scenario, invariant: Invariant) -> Option<String> {
    let (n, f) = (usize::from(scenario.n), scenario.f());
    let quorum = Quorum::of(n).get();
    let (weak, shared) = (f + 1, 2 * quorum - n);
    let faulty = scenario.faulty();
    let liars = names(scenario);
    let count = faulty.len();
    if count <= f {
        return None;
    }
    let why = match invariant {
        Invariant::I1 | Invariant::I6 | Invariant::N6 | Invariant::Halt => format!(
            "any two quorums of {quorum} share {shared} of the {n} replicas. While at most {f} lie, one of those is \
             correct, and it votes once at a place, so no two batches get a quorum there. With {count} liars the shared \
             ones may all lie"
        ),
        Invariant::I2 | Invariant::I3 | Invariant::I4 => format!(
            "correct replicas execute what a quorum of {quorum} has committed. With {count} liars a quorum no longer \
             holds enough correct replicas to carry over what was decided before"
        ),
        Invariant::I5 => format!(
            "a client believes {weak} equal answers, since one of {weak} replicas is correct while at most {f} lie. \
             {count} liars can give it {weak} by themselves"
        ),
        Invariant::N5 => format!(
            "a client believes a read that a quorum of {quorum} answers alike, since enough of them are correct and up to \
             date while at most {f} lie. {count} liars need only {} that lag behind",
            quorum.saturating_sub(count)
        ),
        Invariant::I8 => format!(
            "only {} replicas are sure to answer, and it takes a quorum of {quorum} to execute anything or to replace a \
             primary. While at most {f} lie the others are one; {count} liars can stop everything by silence",
            n - count
        ),
        Invariant::I7
        | Invariant::I9
        | Invariant::D1
        | Invariant::D2
        | Invariant::D3
        | Invariant::D4
        | Invariant::D5
        | Invariant::C1
        | Invariant::VC8
        | Invariant::Panic => {
            return Some(format!("{liars} lied. This guarantee holds whatever replicas say: it is a bug"));
        }
    };
    Some(format!("{liars} lied, and n = {n} tolerates f = {f}: {why}."))
}

/// Who is faulty in which way.
fn names(scenario: &Scenario) -> String {
    let liar = |replica: &ReplicaId| {
        let twins = scenario.twins.contains(replica).then_some("twins");
        let acts = scenario.acts.iter().map(|act| &act.action);
        let ways = acts.filter(|action| action.makes_faulty() == Some(*replica)).filter_map(Action::fault);
        format!("{replica} ({})", twins.into_iter().chain(ways).collect::<Vec<_>>().join(", then "))
    };
    scenario.faulty().iter().map(liar).collect::<Vec<_>>().join(" and ")
}
