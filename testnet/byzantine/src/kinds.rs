//! Kinds of what a replica says, as a parameter.

use pbft_messages::{Configuration, PeerMessage};
use pbft_protocol::Effect;

use crate::parameters::Value;

/// A kind of what a replica says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// PRE-PREPAREs.
    Proposals,
    /// PREPAREs and COMMITs.
    Votes,
    Checkpoints,
    /// VIEW-CHANGEs and NEW-VIEWs.
    ViewChanges,
    /// Clients' submissions, passed on.
    Forwards,
    /// Where a replica stands, and questions.
    Statuses,
    /// Bodies, certificates and snapshots, handed to whoever lacks them.
    State,
    Evidence,
    /// Answers to clients.
    Replies,
}

impl Kind {
    const NAMES: [(&'static str, Self); 9] = [
        ("proposals", Self::Proposals),
        ("votes", Self::Votes),
        ("checkpoints", Self::Checkpoints),
        ("view-changes", Self::ViewChanges),
        ("forwards", Self::Forwards),
        ("statuses", Self::Statuses),
        ("state", Self::State),
        ("evidence", Self::Evidence),
        ("replies", Self::Replies),
    ];

    pub(crate) fn of_message(message: &PeerMessage) -> Self {
        match message {
            PeerMessage::Proposal(..) => Self::Proposals,
            PeerMessage::Prepare(..) | PeerMessage::Commit(_) => Self::Votes,
            PeerMessage::Checkpoint(_) => Self::Checkpoints,
            PeerMessage::ViewChange(_) | PeerMessage::NewView(_) => Self::ViewChanges,
            PeerMessage::Forward(_) => Self::Forwards,
            PeerMessage::Status(_)
            | PeerMessage::FetchBody(_)
            | PeerMessage::FetchPart(_)
            | PeerMessage::AskRecovery(_) => Self::Statuses,
            PeerMessage::Body(_)
            | PeerMessage::Prepared(..)
            | PeerMessage::Committed(..)
            | PeerMessage::Stable(_)
            | PeerMessage::Leaves(_)
            | PeerMessage::Chunk(_)
            | PeerMessage::NoSnapshot(_)
            | PeerMessage::RecoveryAnswer(_) => Self::State,
            PeerMessage::Evidence(_) => Self::Evidence,
        }
    }

    /// The kind of what an effect says; `None` if it says nothing to anybody.
    pub(crate) fn of(effect: &Effect) -> Option<Self> {
        match effect {
            Effect::Send { message, .. } | Effect::Broadcast(message) => Some(Self::of_message(message)),
            Effect::ServePart { .. } => Some(Self::State),
            Effect::Reply { .. } | Effect::Busy { .. } | Effect::AnswerRead { .. } => Some(Self::Replies),
            _ => None,
        }
    }
}

/// Some kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kinds(Vec<Kind>);

impl Kinds {
    pub(crate) fn hold(&self, kind: Kind) -> bool {
        self.0.contains(&kind)
    }
}

impl Value for Kinds {
    const FORM: &'static str =
        "all, or some of proposals/votes/checkpoints/view-changes/forwards/statuses/state/evidence/replies";

    fn parse(text: &str, _: &Configuration) -> Option<Self> {
        let kind = |name| Kind::NAMES.iter().find(|(it, _)| *it == name).map(|(_, kind)| *kind);
        if text == "all" {
            return Some(Self(Kind::NAMES.iter().map(|(_, kind)| *kind).collect()));
        }
        text.split('/').map(kind).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::configuration;

    #[test]
    fn kinds_are_named_one_by_one_and_the_form_names_them_all() {
        let parse = |text| Kinds::parse(text, &configuration(4));
        assert_eq!(parse("votes/state"), Some(Kinds(vec![Kind::Votes, Kind::State])));
        for (name, kind) in Kind::NAMES {
            assert_eq!(parse(name), Some(Kinds(vec![kind])));
            assert!(parse("all").unwrap().hold(kind) && Kinds::FORM.contains(name), "{name}");
        }
        assert_eq!((parse(""), parse("votes/"), parse("lies")), (None, None, None));
    }
}
