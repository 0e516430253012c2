//! Every client strategy by its name.

use crate::parameters::{CLIENTS, Values, parse};
use crate::{Description, UnknownStrategy};

use super::{ClientIdentity, ClientStrategy};

/// The table, as that of the replicas' strategies.
macro_rules! client_strategies {
    ($($module:ident),* $(,)?) => {
        /// All strategies of clients, by their rows in the catalogue.
        pub const CLIENT_STRATEGIES: &[Description] = &[$(super::$module::DESCRIPTION),*];

        const MAKE: &[Make] = &[$(super::$module::make),*];
    };
}

type Make = fn(&Values<'_>, &ClientIdentity) -> Result<Box<dyn ClientStrategy>, UnknownStrategy>;

client_strategies![split_requests, renumber, craft_signatures, oversize_requests, flood_requests];

/// Makes the strategy that `text` names for one client: `name`, or `name:key=value,key=value`.
///
/// # Errors
/// [`UnknownStrategy`], with the name, parameter or value that is wrong, and with what there is.
pub fn client_strategy(
    text: &str,
    identity: &ClientIdentity,
) -> Result<Box<dyn ClientStrategy>, UnknownStrategy> {
    let part = parse(text, &CLIENTS)?;
    MAKE[part.place](&part.values, identity)
}

/// The description of the strategy that `text` names. Values are not looked at.
///
/// # Errors
/// [`UnknownStrategy`], with the name or parameter that is wrong, and with what there is.
pub fn client_described(text: &str) -> Result<&'static Description, UnknownStrategy> {
    Ok(&CLIENT_STRATEGIES[parse(text, &CLIENTS)?.place])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::identity;

    #[test]
    fn every_described_strategy_can_be_made() {
        for it in CLIENT_STRATEGIES {
            for text in [it.name, &it.usage()].into_iter().chain(it.samples.iter().map(|it| it.text)) {
                assert_eq!(client_strategy(text, &identity(2)).unwrap().name(), it.name, "{text}");
            }
            assert!(!it.samples.is_empty() && it.summary().ends_with('.'), "{}", it.name);
            assert!(crate::STRATEGIES.iter().all(|other| other.name != it.name), "{}", it.name);
        }
        assert!(CLIENT_STRATEGIES.is_sorted_by_key(|it| it.row));
    }

    #[test]
    fn whoever_asks_for_another_is_told_what_there_is() {
        let error = client_strategy("polite", &identity(1)).err().unwrap().to_string();
        assert!(error.starts_with("no strategy is called \"polite\": there are split-requests, "), "{error}");
        let error = client_strategy("lie", &identity(1)).err().unwrap().to_string();
        assert_eq!(error, "lie is a strategy of replicas (fault), not of clients (attack)");
    }
}
