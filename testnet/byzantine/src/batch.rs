//! Batches that no honest primary makes.

use pbft_crypto::Signed;
use pbft_messages::{Body, Submission, Timestamp, codec};
use serde::{Deserialize, Serialize};

/// A batch as it travels: what the type of honest ones keeps from being put together at will.
#[derive(Serialize, Deserialize)]
enum Wire {
    Null,
    Ordered { time: Timestamp, submissions: Vec<Signed<Submission>> },
}

/// A batch with other submissions, of which nothing is checked; `None` if there is none such, as for the null batch.
pub(crate) fn altered(body: &Body, change: impl FnOnce(&mut Vec<Signed<Submission>>)) -> Option<Body> {
    let Ok(Wire::Ordered { time, mut submissions }) = codec::decode(&codec::encode(body)) else {
        return None;
    };
    change(&mut submissions);
    codec::decode(&codec::encode(&Wire::Ordered { time, submissions })).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{body, submission};

    #[test]
    fn submissions_can_be_changed_and_the_digest_follows() {
        let twice = altered(&body(), |it| it.push(it[0].clone())).unwrap();
        assert_eq!((twice.submissions().len(), twice.time()), (2, body().time()));
        assert_ne!(twice.digest(), body().digest());
        assert_eq!(altered(&body(), |_| ()), Some(body()));
        let expected = Body::new(Timestamp(5), [&submission(1), &submission(2)]);
        assert_eq!(altered(&body(), |it| it.push(submission(2).signed().clone())), Some(expected));
        assert_eq!(altered(&Body::null(), |_| ()), None);
    }
}
