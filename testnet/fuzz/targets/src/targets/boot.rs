//! Boots from records.

use std::collections::BTreeMap;

use pbft_messages::{PeerMessage, Prepare, Sequence, View, codec};
use pbft_protocol::{CleanShutdown, Record, initial_records};

use crate::cluster::{INTERVAL, configuration};
use crate::harness::{Disk, Harness, ME};
use crate::law::{self, Law};
use crate::make::Make;

pub(super) fn bytes(bytes: &[u8]) {
    let Ok(records) = codec::decode::<Vec<Record>>(bytes) else { return };
    assert_eq!(codec::encode(&records), bytes, "a value has one encoding");
    from(records, &mut Make::new(&[]));
}

pub(super) fn records(bytes: &[u8]) {
    let mut make = Make::new(bytes);
    let mut records = if make.draw.rarely() { Vec::new() } else { initial_records() };
    for _ in 0..make.draw.below(12) {
        records.extend(written(&mut make));
    }
    from(records, &mut make);
}

/// Records that are written at once: a certificate with its body (D1), others by themselves.
fn written(make: &mut Make<'_>) -> Vec<Record> {
    let view = View(make.draw.below(6));
    let sequence = Sequence(1 + make.draw.below(12));
    let body = make.body();
    let record = match make.draw.below(11) {
        0 => {
            let certificate = make.prepared_at(view, sequence, body.digest());
            return vec![Record::Prepared(certificate), Record::Body(sequence, body)];
        }
        1 => Record::Body(sequence, body),
        2 => Record::Committed(make.committed_at(view, sequence, body.digest())),
        3 => Record::Reservation(view, sequence),
        4 => Record::View(view, (view > View(0)).then(|| make.new_view_of(view))),
        5 => Record::ViewChange(make.view_change_to(view.next(), ME)),
        6 => Record::Stable(make.stable_at(Sequence((1 + sequence.0 % 3) * INTERVAL))),
        7 => Record::Snapshot(Sequence((1 + sequence.0 % 3) * INTERVAL), body.digest()),
        8 => Record::Shutdown((make.draw.below(2) == 1).then(|| {
            let primary = make.primary(view);
            let header = pbft_messages::PrePrepare { view, sequence, digest: body.digest() };
            CleanShutdown { view, accepted: vec![make.signed(header, primary)] }
        })),
        9 => match make.evidence() {
            Some(evidence) => Record::Evidence(evidence),
            None => return Vec::new(),
        },
        _ => Record::Recovery((make.draw.below(2) == 1).then_some(pbft_messages::RecoveryNonce([7; 32]))),
    };
    vec![record]
}

/// Starts from records as a disk would keep them, and plays on.
fn from(records: Vec<Record>, make: &mut Make<'_>) {
    let kept: BTreeMap<Vec<u8>, Record> = records.into_iter().map(|record| (record.key(), record)).collect();
    let unlawful = kept.values().find(|record| !is_lawful(record));
    let Ok(mut harness) = Harness::start(Disk::new(kept.values().cloned())) else { return };
    assert_eq!(unlawful, None, "it starts from what the rules forbid");
    abstains(&kept, &harness.sent);
    harness.play(make);
}

/// Whether what is signed in a record is right.
fn is_lawful(record: &Record) -> bool {
    let configuration = configuration();
    let law = Law(&configuration);
    match record {
        Record::View(view, new_view) => match new_view {
            None => *view == View(0),
            Some(signed) => law.new_view(signed).is_some_and(|it| it.view == *view),
        },
        Record::ViewChange(signed) => law.view_change(signed).is_some(),
        Record::Prepared(certificate) => law.prepared(certificate),
        Record::Committed(certificate) => law.committed(certificate),
        Record::Stable(certificate) => law.stable(certificate),
        Record::Evidence(evidence) => law.evidence(evidence),
        Record::Shutdown(_)
        | Record::Reservation(..)
        | Record::Body(..)
        | Record::Snapshot(..)
        | Record::Recovery(_) => true,
    }
}

/// D2: in the view that it restarts in, it prepares no sequence that it may have prepared before, unless it knows how.
fn abstains(kept: &BTreeMap<Vec<u8>, Record>, sent: &[PeerMessage]) {
    let (mut view, mut max_s, mut reserved) = (View(0), 0, Sequence(0));
    for record in kept.values() {
        match record {
            Record::View(of, new_view) => {
                view = *of;
                let asked = new_view.iter().filter_map(|it| it.peek().ok()).flat_map(|it| it.view_changes);
                let asked: Vec<_> = asked.filter_map(|it| it.peek().ok()).collect();
                max_s = law::carried_over(&asked).map_or(0, |(low, digests)| low + digests.len() as u64);
            }
            Record::Reservation(of, through) if *of == view => reserved = *through,
            Record::Shutdown(Some(shutdown)) if shutdown.view == view => return,
            _ => {}
        }
    }
    for message in sent {
        let PeerMessage::Prepare(signed, _) = message else { continue };
        let Ok(vote) = signed.peek() else { continue };
        let Prepare { view: of, sequence, digest } = vote;
        let own = kept.values().any(|record| {
            let Record::Prepared(it) = record else { return false };
            it.prepares.statement == Prepare { view, sequence, digest }
                && it.prepares.signatures.iter().any(|(voter, _)| *voter == ME)
        });
        let forbidden = of == view && sequence.0 > max_s && sequence <= reserved;
        assert!(!forbidden || own, "it prepares {sequence} again in view {view}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the target `boot`: every VIEW-CHANGE of such a replica would have been invalid.
    #[test]
    fn a_certificate_beyond_its_view_or_its_window_is_no_store_of_a_replica() {
        let boots = |view, sequence| {
            let mut make = Make::new(&[]);
            let digest = make.body().digest();
            let certificate = make.prepared_at(View(view), Sequence(sequence), digest);
            let records = initial_records().into_iter().chain([Record::Prepared(certificate)]);
            Harness::start(Disk::new(records)).is_ok()
        };
        assert!(boots(0, 1) && boots(0, crate::cluster::WINDOW));
        assert!(!boots(2, 1), "of a view that was never entered");
        assert!(!boots(0, crate::cluster::WINDOW + 1), "above the window");
    }
}
