//! Every strategy by its name.

use crate::chain::Chain;
use crate::parameters::{REPLICAS, parse};
use crate::{Description, Identity, Strategy, UnknownStrategy};

/// The table: each of these modules has a `DESCRIPTION`, and a function `make` that makes the strategy for an identity
/// with the parameters that were given.
macro_rules! strategies {
    ($($module:ident),* $(,)?) => {
        /// All strategies, by their rows in the catalogue.
        pub const STRATEGIES: &[Description] = &[$(crate::$module::DESCRIPTION),*];

        fn make(place: usize) -> Make {
            const MAKE: &[Make] = &[$(crate::$module::make),*];
            MAKE[place]
        }
    };
}

strategies![
    equivocate,
    silent,
    slow,
    partial,
    starve,
    invent,
    skip,
    misdate,
    contradict,
    bad_signatures,
    accuse,
    misplace,
    lie,
    stale_reads,
    stampede,
    usurp,
    omit_proofs,
    forge_proofs,
    wrong_new_view,
    two_new_views,
    bad_leader,
    oversize,
    wrong_root,
    corrupt_chunks,
    false_target,
    drip,
];

type Make = fn(&crate::parameters::Values<'_>, &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy>;

/// Makes the strategy that `text` names, for one replica: `name`, or `name:key=value,key=value`, or several of these
/// with `+` between them, through which effects and inputs pass in this order.
///
/// # Errors
/// [`UnknownStrategy`], with the part, parameter or value that is wrong, and with what there is.
pub fn strategy(text: &str, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let part = |text| {
        let part = parse(text, &REPLICAS)?;
        make(part.place)(&part.values, identity)
    };
    let mut parts = text.split('+').map(part).collect::<Result<Vec<_>, _>>()?;
    if parts.len() > 1 {
        return Ok(Box::new(Chain { text: text.to_owned(), parts }));
    }
    Ok(parts.pop().expect("a text has at least one part"))
}

/// The descriptions of the strategies that `text` names. Values are not looked at: what they may be is known only with
/// a cluster at hand.
///
/// # Errors
/// [`UnknownStrategy`], with the part or parameter that is wrong, and with what there is.
pub fn described(text: &str) -> Result<Vec<&'static Description>, UnknownStrategy> {
    text.split('+').map(|text| Ok(&STRATEGIES[parse(text, &REPLICAS)?.place])).collect()
}

#[cfg(test)]
mod tests {
    use pbft_messages::ReplicaId;

    use super::*;
    use crate::parameters::Kind;
    use crate::testing::identity;

    fn error(text: &str) -> String {
        strategy(text, &identity(4, ReplicaId(0))).err().unwrap().to_string()
    }

    #[test]
    fn every_described_strategy_can_be_made() {
        for it in STRATEGIES {
            for text in [it.name, &it.usage()].into_iter().chain(it.samples.iter().map(|it| it.text)) {
                let made = strategy(text, &identity(4, ReplicaId(0))).unwrap();
                assert_eq!(made.name(), it.name, "{text}");
                assert_eq!(described(text).unwrap(), [it]);
            }
            assert!(!it.samples.is_empty() && it.summary().ends_with('.'), "{}", it.name);
        }
        assert!(STRATEGIES.is_sorted_by_key(|it| it.row));
    }

    /// The example in the README is a file of this crate, so that it compiles.
    #[test]
    fn a_strategy_of_ones_own_is_as_the_readme_tells_it() {
        const OWN: &[Description] = &[crate::miser::DESCRIPTION];
        let told = include_str!("../README.md").split_once("// src/miser.rs\n").unwrap().1;
        assert_eq!(told.split_once("```").unwrap().0, include_str!("miser.rs"));
        let part = parse("miser:spare=3", &Kind { strategies: OWN, whose: "" }).unwrap();
        let made = crate::miser::make(&part.values, &identity(4, ReplicaId(0))).unwrap();
        assert_eq!((made.name(), OWN[0].harm()), ("miser", crate::Harm::Standstill));
    }

    #[test]
    fn several_are_one() {
        assert!(described(" slow + silent ").is_ok());
        let text = "equivocate+slow:delay=300ms+starve";
        assert_eq!(strategy(text, &identity(4, ReplicaId(0))).unwrap().name(), text);
        let names: Vec<_> = described(text).unwrap().iter().map(|it| it.name).collect();
        assert_eq!(names, ["equivocate", "slow", "starve"]);
    }

    #[test]
    fn whoever_asks_for_another_is_told_what_there_is() {
        for text in ["lazy", "", "silent+", "+silent", "silent+lazy:at=all"] {
            let error = error(text);
            assert!(error.contains("called \"\"") || error.contains("called \"lazy\""), "{text}: {error}");
            assert!(error.contains("there are equivocate, silent, "), "{text}: {error}");
        }
    }

    #[test]
    fn whoever_mistakes_a_name_is_told_what_was_meant() {
        assert_eq!(error("slow+equivocat"), "no strategy is called \"equivocat\": did you mean equivocate?");
        assert_eq!(error("renumber"), "renumber is a strategy of clients (attack), not of replicas (fault)");
    }

    #[test]
    fn whoever_gives_a_wrong_parameter_is_told_which_and_what_to_give() {
        assert_eq!(error("silent+slow:rate=1"), "slow has no parameter \"rate\": delay");
        assert_eq!(error("stale-reads:delay=1s"), "stale-reads has no parameter \"delay\": it has none");
        for text in ["slow:", "slow:1s", "slow:delay=1s,delay=2s", "slow:delay=1s,"] {
            assert!(error(text).ends_with("written key=value, once, with commas between them"), "{text}");
        }
        let soon = error("slow:delay=soon");
        assert!(
            soon.starts_with("slow: delay is a time such as ") && soon.ends_with("not \"soon\""),
            "{soon}"
        );
        assert!(error("starve:client=nobody").contains("client is an admitted client's key"));
    }
}
