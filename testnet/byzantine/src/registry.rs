//! Every strategy by its name, with what to expect of it.

use std::time::Duration;

use pbft_crypto::PublicKey;

use crate::{Equivocate, Identity, Silent, Slow, StaleReads, Starve, Strategy};

/// What there is to know about a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// The name that commands use.
    pub name: &'static str,
    /// What may follow the name.
    pub parameters: &'static str,
    /// One paragraph: what it does, which rule defeats it, and what can be seen.
    pub text: &'static str,
}

/// All strategies.
pub const STRATEGIES: &[Description] = &[
    Description {
        name: Silent::NAME,
        parameters: "",
        text: "Sends nothing to anybody: no proposals, votes, replies or state, while it goes on listening and \
               keeping its own books. Defeated by VC1: requests that wait too long at a silent primary start a view \
               change, and a quorum never needs f of the replicas. Expect one pause of about the view timeout if it \
               is the primary, and none otherwise; silence leaves no evidence, since a slow network looks the same.",
    },
    Description {
        name: Equivocate::NAME,
        parameters: "",
        text: "As primary, proposes two different batches at each sequence: A to half of the backups, B to the rest, \
               and commits to both; as a backup it behaves well. Defeated by quorum intersection (no two batches get \
               certificates at one place) and by N3: each PREPARE carries the proposal that it answers, so the two \
               halves show each other the lie. Expect evidence of kind pre-prepare that names exactly this replica, \
               and with it, at once, a view change (VC1).",
    },
    Description {
        name: Slow::NAME,
        parameters: "[:MILLISECONDS]",
        text: "As primary, sits on every request for a while (by default three quarters of the view timeout, so that no \
               timer ends) before it proposes it. Defeated by VC9: backups see requests wait while other primaries did \
               better. Expect answers as slow as the delay for about six view timeouts, then a view change for the \
               reason slow-primary; slowness leaves no evidence.",
    },
    Description {
        name: Starve::NAME,
        parameters: "[:CLIENT-KEY[:MILLISECONDS]]",
        text: "As primary, leaves one client's requests out of its proposals (by default the first client's; a key may \
               be cut short), or sits on them for a while, and serves all others well. Defeated by N8: the timer \
               measures the oldest waiting request whatever else is executed, and by VC9 if the delay stays under the \
               timeout. Expect one pause of about the view timeout for that client, then a view change.",
    },
    Description {
        name: StaleReads::NAME,
        parameters: "",
        text: "Answers each unordered read as it answered the same one for the first time, whatever was written since; \
               in everything else it behaves well. Defeated by N5: a client believes a quorum of equal results, in \
               which correct replicas stand that wait for all that they helped to commit. Expect reads that are \
               ordered after all when another replica is slow, never a stale value; nothing is signed, so there is no \
               evidence.",
    },
];

/// There is no strategy of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no strategy is called {0:?}: there are {names}", names = names())]
pub struct UnknownStrategy(pub String);

fn names() -> String {
    let usages = STRATEGIES.iter().map(|it| format!("{}{}", it.name, it.parameters));
    usages.collect::<Vec<_>>().join(", ")
}

/// Makes the strategy that `text` names, with its parameters behind colons, for one replica.
///
/// # Errors
/// [`UnknownStrategy`], with the names that there are, if there is none of that name, or none with such parameters.
pub fn strategy(text: &str, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let unknown = || UnknownStrategy(text.to_owned());
    let delay = |text: &str| text.parse().map(Duration::from_millis).map_err(|_| unknown());
    let client = |prefix: &str| {
        let named = |(_, key): &(_, PublicKey)| key.to_string().starts_with(prefix);
        identity.configuration.clients().find(named).map(|(client, _)| client).ok_or_else(unknown)
    };
    let words: Vec<_> = text.split(':').collect();
    Ok(match words[..] {
        [Silent::NAME] => Box::new(Silent),
        [Equivocate::NAME] => Box::new(Equivocate::new(identity.clone())),
        [StaleReads::NAME] => Box::<StaleReads>::default(),
        [Slow::NAME] => Box::new(Slow::new(identity, None)),
        [Slow::NAME, milliseconds] => Box::new(Slow::new(identity, Some(delay(milliseconds)?))),
        [Starve::NAME] => Box::new(Starve::new(client("")?, None)),
        [Starve::NAME, key] => Box::new(Starve::new(client(key)?, None)),
        [Starve::NAME, key, milliseconds] => Box::new(Starve::new(client(key)?, Some(delay(milliseconds)?))),
        _ => return Err(unknown()),
    })
}

#[cfg(test)]
mod tests {
    use pbft_messages::ReplicaId;

    use super::*;
    use crate::testing::identity;

    #[test]
    fn every_described_strategy_can_be_made() {
        for description in STRATEGIES {
            let made = strategy(description.name, &identity(4, ReplicaId(0))).unwrap();
            assert_eq!(made.name(), description.name);
        }
        for text in ["slow:250", "starve:", "starve::250"] {
            assert!(strategy(text, &identity(4, ReplicaId(0))).is_ok(), "{text}");
        }
    }

    #[test]
    fn whoever_asks_for_another_is_told_what_there_is() {
        for text in ["lazy", "", "silent:1", "slow:soon", "slow:1:2", "starve:nobody", "starve::soon"] {
            let error = strategy(text, &identity(4, ReplicaId(0))).err().unwrap().to_string();
            assert!(
                error.starts_with(&format!("no strategy is called {text:?}: there are silent, ")),
                "{error}"
            );
            assert!(error.contains("slow[:MILLISECONDS]"), "{error}");
        }
    }
}
