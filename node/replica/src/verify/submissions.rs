//! Checking what clients send: the signatures of many frames together, at a third of the cost of one by one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use pbft_crypto::{Malformed, Signed, Verified};
use pbft_messages::{ClientId, ClientMessage, Configuration, SessionId, Submission, codec};
use pbft_protocol::Input;

use super::check::{Bad, contained};

/// A frame, and whose connection it came by.
pub(super) struct FromClient {
    pub(super) client: ClientId,
    pub(super) session: SessionId,
    pub(super) frame: Bytes,
}

/// What was read from a frame.
enum Content {
    Input(Input),
    Submission(Signed<Submission>),
}

/// Checks frames of any clients: what each is as an input, in the same order. A bad signature costs the others that theirs
/// are checked again, each alone.
pub(super) fn check(frames: &[FromClient], configuration: &Configuration) -> Vec<Result<Input, Bad>> {
    let read = |from| contained(|| Content::read(from, configuration));
    let contents: Vec<_> = frames.iter().map(read).collect();
    let submissions = contents.iter().filter_map(|content| match content {
        Ok(Content::Submission(signed)) => Some(signed.clone()),
        _ => None,
    });
    let mut verified = verify(submissions.collect(), configuration).into_iter();
    let results = frames.iter().zip(contents).map(|(from, content)| {
        let verified = match content? {
            Content::Input(input) => return Ok(input),
            Content::Submission(_) => verified.next().expect("each submission has its answer")?,
        };
        if verified.value().session() != from.session {
            return Err(Malformed("a submission of another session than the connection's".into()).into());
        }
        Ok(Input::Submission(verified))
    });
    results.collect()
}

/// Checks submissions together, or each alone should that panic, which it does not.
fn verify(
    submissions: Vec<Signed<Submission>>,
    configuration: &Configuration,
) -> Vec<Result<Verified<Submission>, Bad>> {
    let together = || Verified::each(submissions.clone(), configuration);
    if let Ok(answers) = catch_unwind(AssertUnwindSafe(together)) {
        return answers.into_iter().map(|answer| Ok(answer?)).collect();
    }
    let alone = |signed: Signed<Submission>| contained(|| Ok(signed.verify(configuration)?));
    submissions.into_iter().map(alone).collect()
}

impl Content {
    fn read(from: &FromClient, configuration: &Configuration) -> Result<Self, Bad> {
        match codec::decode(&from.frame)? {
            ClientMessage::Submit(signed) if signed.claimed_signer() == from.client => {
                Ok(Self::Submission(signed))
            }
            ClientMessage::Submit(_) => Err(Malformed("a submission in another client's name".into()).into()),
            ClientMessage::Read(read) => {
                read.check(configuration)?;
                Ok(Self::Input(Input::Read { client: from.client, session: from.session, read }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{SecretKey, Signature, Signer as _};
    use pbft_messages::{Read, ReadId};

    use super::*;
    use crate::testing::configuration;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    /// A cluster that admits the clients whose keys have the seeds 100 to 103.
    fn cluster() -> Configuration {
        let other = configuration(4);
        let members = other.replicas().filter_map(|replica| other.member(replica).cloned()).collect();
        let clients = (100..104).map(|seed| key(seed).public_key());
        Configuration::new("test".into(), members, clients, other.parameters().clone()).unwrap()
    }

    fn signed(seed: u8, session: u64) -> Signed<Submission> {
        let submission = Submission::Open { session: SessionId(session) };
        let client = key(seed).public_key().into();
        Verified::sign(submission, client, &key(seed), cluster().scope()).signed().clone()
    }

    fn forged(seed: u8, session: u64) -> Signed<Submission> {
        let signed = signed(seed, session);
        let other = Signature::from_bytes(&[7; 64]);
        Signed::from_parts(signed.claimed_signer(), signed.payload().clone(), other)
    }

    fn frame(seed: u8, session: u64, message: &ClientMessage) -> FromClient {
        let client = key(seed).public_key().into();
        FromClient { client, session: SessionId(session), frame: codec::encode(message).into() }
    }

    fn submit(seed: u8, session: u64, signed: Signed<Submission>) -> FromClient {
        frame(seed, session, &ClientMessage::Submit(signed))
    }

    /// Whom each result names, or nobody if it is bad.
    fn named(frames: &[FromClient]) -> Vec<Option<(ClientId, SessionId)>> {
        let names = check(frames, &cluster()).into_iter().map(|result| match result {
            Ok(Input::Submission(it)) => Some((it.signer(), it.value().session())),
            Ok(Input::Read { client, session, .. }) => Some((client, session)),
            Ok(other) => panic!("no client sends {other:?}"),
            Err(_) => None,
        });
        names.collect()
    }

    /// R3: of whatever else is bad, the others' signatures do not have to be checked again.
    #[test]
    fn only_who_signs_badly_is_a_forger() {
        let noise = FromClient { frame: Bytes::from_static(b"noise"), ..submit(100, 1, signed(100, 1)) };
        let cases = [
            (submit(101, 1, forged(101, 1)), true),
            (submit(101, 1, signed(101, 1)), false),
            (submit(102, 1, signed(102, 2)), false),
            (submit(102, 1, forged(100, 1)), false),
            (noise, false),
        ];
        let (frames, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
        let forgers: Vec<_> = check(&frames, &cluster())
            .into_iter()
            .map(|result| result.is_err_and(|bad| bad.forged))
            .collect();
        assert_eq!(forgers, expected);
    }

    /// R3: what is bad, in whatever way, changes nothing for the frames around it.
    #[test]
    fn each_frame_has_its_own_verdict_in_its_place() {
        let read = Read { id: ReadId(5), operation: Bytes::new() };
        let frames = [
            submit(100, 1, signed(100, 1)),
            submit(101, 1, forged(101, 1)),
            submit(100, 2, signed(100, 2)),
            submit(102, 1, signed(100, 1)),
            frame(101, 3, &ClientMessage::Read(read)),
            submit(102, 1, signed(102, 2)),
            FromClient { frame: Bytes::from_static(b"noise"), ..submit(103, 1, signed(103, 1)) },
            submit(103, 1, signed(103, 1)),
        ];
        let good = [true, false, true, false, true, false, false, true];
        let expected: Vec<_> =
            frames.iter().zip(good).map(|(it, good)| good.then_some((it.client, it.session))).collect();
        assert_eq!(named(&frames), expected);
        for (frame, expected) in frames.iter().zip(expected) {
            assert_eq!(named(std::slice::from_ref(frame)), [expected]);
        }
    }
}
