//! The mutants: what each breaks, and the test that must notice.

/// A fault put back on purpose. `mutant!(name)` stands at the line that it breaks.
pub(super) struct Mutant {
    pub(super) name: &'static str,
    /// The fault of the list in pbft-protocol's README, or the rule, that it goes against.
    pub(super) against: &'static str,
    pub(super) test: Test,
    /// What is wrong with it.
    pub(super) breaks: &'static str,
}

/// One test function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Test {
    pub(super) binary: Binary,
    pub(super) path: &'static str,
}

/// A binary of tests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Binary {
    pub(super) package: &'static str,
    /// Its target's name, as cargo reports it; a package's own unit tests bear the library's.
    pub(super) target: &'static str,
}

impl Binary {
    /// Whether it is a library's own unit tests.
    pub(super) fn is_unit_tests(&self) -> bool {
        self.target.replace('_', "-") == self.package
    }
}

const CRYPTO: Binary = Binary { package: "pbft-crypto", target: "pbft_crypto" };
const MESSAGES: Binary = Binary { package: "pbft-messages", target: "pbft_messages" };
const PROTOCOL: Binary = Binary { package: "pbft-protocol", target: "pbft_protocol" };
pub(super) const NODE: Binary = Binary { package: "pbft-node", target: "pbft_node" };
const CLIENT: Binary = Binary { package: "pbft-client", target: "pbft_client" };
const FAULTS: Binary = Binary { package: "pbft-simulator", target: "faults" };
const REGRESSIONS: Binary = Binary { package: "pbft-simulator", target: "regressions" };
const READS: Binary = Binary { package: "pbft-simulator", target: "reads" };
const AMNESIA: Binary = Binary { package: "pbft-simulator", target: "amnesia" };
const STATE_TRANSFER: Binary = Binary { package: "pbft-simulator", target: "state_transfer" };
const PERSIST_POINTS: Binary = Binary { package: "pbft-simulator", target: "persist_points" };

const fn mutant(
    name: &'static str,
    against: &'static str,
    binary: Binary,
    path: &'static str,
    breaks: &'static str,
) -> Mutant {
    Mutant { name, against, test: Test { binary, path }, breaks }
}

#[rustfmt::skip]
pub(super) const MUTANTS: &[Mutant] = &[
    mutant("first-proof", "1", MESSAGES, "view_change::tests::fault_01_the_highest_views_certificate_is_carried_over",
        "the first certificate at a sequence is carried over"),
    mutant("senders-not-distinct", "2", MESSAGES, "view_change::tests::fault_02_a_new_view_shows_a_quorum_of_distinct_replicas",
        "VIEW-CHANGEs are counted by message"),
    mutant("quorum-unchecked", "2", MESSAGES, "view_change::tests::fault_02_a_new_view_shows_a_quorum_of_distinct_replicas",
        "a NEW-VIEW needs no quorum"),
    mutant("checkpoint-without-proof", "3", MESSAGES, "certificate::tests::fault_03_a_checkpoint_needs_proof",
        "a stable certificate is not checked"),
    mutant("bad-proof-skipped", "4", MESSAGES, "view_change::tests::fault_04_a_view_change_is_good_in_every_part_or_not_at_all",
        "a bad certificate in P is passed over"),
    mutant("o-not-recomputed", "5", MESSAGES, "view_change::tests::fault_05_o_follows_from_v",
        "O is taken as it comes"),
    mutant("view-moves-back", "6", REGRESSIONS, "fault_06_a_replayed_new_view_moves_nothing_back",
        "an old NEW-VIEW is entered"),
    mutant("nothing-shown", "7", FAULTS, "fault_07_a_decided_batch_survives_the_view_change",
        "a VIEW-CHANGE has no P"),
    mutant("primary-prepares", "8", MESSAGES, "certificate::tests::fault_08_prepared_is_the_proposal_and_a_quorum_less_one_of_backups",
        "the primary's PREPARE counts beside its PRE-PREPARE"),
    mutant("quorum-of-backups", "8", MESSAGES, "certificate::tests::fault_08_prepared_is_the_proposal_and_a_quorum_less_one_of_backups",
        "Q PREPAREs of backups are wanted"),
    mutant("kind-not-signed", "10", CRYPTO, "signed::tests::fault_10_a_signature_holds_for_its_kind_only",
        "the kind is outside the signature"),
    mutant("body-not-bound", "11", MESSAGES, "batch::tests::fault_11_the_digest_binds_time_submissions_and_order",
        "a digest covers no submissions"),
    mutant("quorum-2f-plus-1", "12", MESSAGES, "quorum::tests::fault_12_quorums_intersect_in_a_correct_replica_and_survive_f_silent_ones",
        "a quorum is 2f+1 at every n"),
    mutant("votes-forgotten", "13", REGRESSIONS, "fault_13_votes_are_not_forgotten_by_a_crash",
        "a restarted replica does not abstain"),
    mutant("rename-not-synced", "14", NODE, "folder::tests::fault_14_a_rename_is_durable",
        "a folder is not synced after a rename"),
    mutant("pending-view-lost", "15", REGRESSIONS, "fault_15_a_pending_view_survives_a_restart",
        "a restart forgets the view asked for"),
    mutant("write-error-ignored", "16", NODE, "store::tests::writer::fault_16_a_failed_write_releases_nothing",
        "a failed write passes for a durable one"),
    mutant("body-written-apart", "17", PERSIST_POINTS, "fault_17_power_goes_at_every_point_of_the_normal_case",
        "a certificate is written before its body, and COMMIT leaves between"),
    mutant("dropped-beyond-h", "18", FAULTS, "fault_18_a_lagging_backup_keeps_what_is_beyond_its_window",
        "what is above H is dropped"),
    mutant("idle-asks-nobody", "19", FAULTS, "fault_19_a_slow_replica_catches_up_when_idle",
        "a stalled replica does not say what it lacks"),
    mutant("executed-again", "20", FAULTS, "fault_20_a_view_change_executes_nothing_again",
        "entering a view lowers the last executed sequence"),
    mutant("view-change-sent-once", "21", FAULTS, "fault_21_a_lost_view_change_is_sent_again",
        "a VIEW-CHANGE is sent once"),
    mutant("view-entry-not-retried", "22", FAULTS, "fault_22_view_entry_is_tried_again_when_the_state_moves",
        "a stable checkpoint does not make the new primary try again"),
    mutant("carried-batch-judged-afresh", "23", FAULTS, "fault_23_a_carried_batch_is_not_judged_by_its_time",
        "O's batches are judged like fresh proposals"),
    mutant("idle-primary-kept", "24", PROTOCOL, "timeouts::tests::fault_24_a_silent_idle_primary_is_replaced",
        "an overdue deadline blames nobody"),
    mutant("any-execution-calms", "25", REGRESSIONS, "fault_25_a_censoring_primary_is_deposed_under_load",
        "each execution restarts everybody's patience"),
    mutant("backoff-uncapped", "26", FAULTS, "fault_26_the_backoff_has_a_cap_and_is_reset",
        "time-outs double without end"),
    mutant("backoff-never-reset", "26", FAULTS, "fault_26_the_backoff_has_a_cap_and_is_reset",
        "progress does not shorten the time-out"),
    mutant("request-unchecked", "27", MESSAGES, "batch::tests::fault_27_a_fresh_body_has_no_request_twice_and_only_good_signatures",
        "a proposal's requests are not verified"),
    mutant("executed-twice", "29", PROTOCOL, "ledger::tests::fault_29_a_request_is_executed_once",
        "a request that was executed is executed again"),
    mutant("huge-number-executed", "30", PROTOCOL, "ledger::tests::fault_30_numbers_beyond_the_window_are_refused_and_block_nothing",
        "a number beyond the window is executed"),
    mutant("old-number-executed", "31", PROTOCOL, "ledger::tests::fault_31_evicted_replies_are_never_executed_again",
        "a request whose reply was evicted is executed again"),
    mutant("commit-without-body", "32", FAULTS, "fault_32_no_commit_without_the_body",
        "COMMIT leaves without the body in hand"),
    mutant("unbounded-ahead", "33", PROTOCOL, "ahead::tests::fault_33_little_is_kept_of_future_views",
        "all messages of future views are kept"),
    mutant("panic-uncontained", "34", NODE, "verify::check::tests::fault_34_a_check_that_panics_costs_its_sender_alone",
        "a panic ends the thread that checks"),
    mutant("one-signers-votes", "35", MESSAGES, "certificate::tests::fault_35_one_replica_cannot_supply_all_votes_of_a_checkpoint",
        "a vote counts as often as it stands in a certificate"),
    mutant("chunk-unchecked", "35", STATE_TRANSFER, "a_lying_source_is_dropped_and_changes_nothing",
        "a chunk is taken as it comes"),
    mutant("read-forgets-commits", "36", READS, "fault_36_unordered_reads_are_never_stale",
        "a read does not wait for what this replica sent COMMIT for"),
    mutant("lax-verification", "37", CRYPTO, "signed::tests::fault_37_crafted_signatures_are_judged_alike_everywhere",
        "signatures are verified by the lax equation"),
    mutant("no-cofactor", "37", CRYPTO, "signed::tests::fault_37_company_changes_no_verdict",
        "a signature alone is judged by another equation than many"),
    mutant("stable-record-falls", "C1", REGRESSIONS, "the_stable_checkpoint_on_disk_never_falls",
        "a lower checkpoint's certificate takes the place of a higher one on disk"),
    mutant("evidence-unverified", "38", MESSAGES, "evidence::tests::fault_38_evidence_with_a_forged_signature_is_refused",
        "the signatures inside evidence are not verified"),
    mutant("one-claim-believed", "39", CLIENT, "core::tests::agreement::fault_39_the_view_follows_f_plus_one_replicas",
        "a client follows the view that one replica claims"),
    mutant("weak-key", "40", CRYPTO, "key::tests::fault_40_weak_keys_are_refused",
        "a key of small order is an identity"),
    mutant("commit-before-durable", "D1", PERSIST_POINTS, "fault_17_power_goes_at_every_point_of_the_normal_case",
        "COMMIT leaves before its certificate is durable"),
    mutant("view-change-before-durable", "D3", PROTOCOL, "view_change::tests::a_view_change_waits_for_its_write",
        "a VIEW-CHANGE leaves before it is durable"),
    mutant("view-left-is-voted-in", "D3", PROTOCOL, "prepare::tests::no_commit_leaves_in_a_view_that_was_left",
        "a replica votes on in a view that it has left"),
    mutant("prepared-executed", "D4", PROTOCOL, "execute::tests::what_is_only_prepared_is_not_executed",
        "a batch that is prepared, and no more, is executed"),
    mutant("log-goes-before-snapshot", "D5", PROTOCOL, "checkpoint::tests::the_log_stays_until_the_snapshot_is_durable",
        "a stable certificate alone lets the log go"),
    mutant("view-change-timer-starts-alone", "VC7", PROTOCOL, "view_change::tests::the_timer_of_a_view_change_starts_with_a_quorum",
        "the timer of a view change does not wait for a quorum"),
    mutant("time-as-proposed", "N6", PROTOCOL, "ledger::tests::time_always_moves_on",
        "the service is told the time that is proposed"),
    mutant("stable-kept-to-oneself", "C4", PROTOCOL, "status::tests::who_lacks_something_is_handed_it",
        "a stable certificate is not handed over"),
    mutant("decided-kept-to-oneself", "C4", PROTOCOL, "status::tests::who_lacks_something_is_handed_it",
        "a committed certificate is not handed over"),
    mutant("recovered-at-once", "D8", AMNESIA, "forgotten_commits_decide_no_second_batch",
        "a replica that lost its disk votes again at once"),
    mutant("slow-primary-kept", "VC9", PROTOCOL, "vigilance::tests::three_spans_of_long_waits_depose_after_the_grace",
        "a slow primary is not voted out"),
    mutant("checkpoint-covers-nothing", "E", MESSAGES, "omission::tests::a_view_change_hides_what_it_neither_shows_nor_covers",
        "a VIEW-CHANGE hides what its checkpoint covers"),
    mutant("higher-view-is-no-excuse", "E", MESSAGES, "omission::tests::a_view_change_hides_what_it_neither_shows_nor_covers",
        "a VIEW-CHANGE hides what a higher view's certificate replaced"),
    mutant("former-commits-dropped", "E", PROTOCOL, "omission::tests::commits_of_views_that_were_left_are_compared",
        "COMMITs are forgotten with their view"),
    mutant("header-beside-prepare-ignored", "N3", PROTOCOL, "certified::tests::the_proposal_in_a_certificate_is_compared",
        "the proposal beside a PREPARE is not looked at"),
    mutant("evidence-kept-to-oneself", "E", PROTOCOL, "bounds::evidence_is_handed_over_in_turn_and_one_piece_a_round",
        "evidence is not handed to who lacks it"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The names in every `mutant!` below a folder.
    fn placed(folder: &Path, names: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                placed(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                let calls = source.split("mutant!(\"").skip(1).filter_map(|rest| rest.split('"').next());
                names.extend(calls.map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_mutant_has_its_place_and_every_place_its_mutant() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut found = Vec::new();
        for folder in ["crypto/src", "node", "client"] {
            placed(&root.join(folder), &mut found);
        }
        // The macro's own documentation is not a place.
        found.retain(|name| name != "name");
        let distinct: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(distinct.len(), found.len(), "a name stands in one place");
        assert_eq!(distinct, MUTANTS.iter().map(|it| it.name).collect());
    }
}
