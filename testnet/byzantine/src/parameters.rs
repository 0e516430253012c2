//! Reading the text form of strategies: `part("+" part)*`, where a part is `name[":" key "=" value ("," key "=" value)*]`.

use std::collections::BTreeMap;
use std::time::Duration;

use pbft_messages::{ClientId, Configuration};

use crate::Description;
use crate::nearest::nearest;

/// A text that names no strategy, or gives one a parameter that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownStrategy {
    /// There is none of that name.
    #[error("no strategy is called {name:?}: {hint}")]
    Name {
        /// What was asked for.
        name: String,
        /// What may have been meant, or else what there is.
        hint: String,
    },
    /// There is one, and it is not for those who were to follow it.
    #[error("{name} is a strategy of {whose}, not of {asked}")]
    Foreign {
        /// Its name.
        name: &'static str,
        /// Who can follow it.
        whose: &'static str,
        /// Who was to follow it.
        asked: &'static str,
    },
    /// The strategy has no such parameter.
    #[error("{strategy} has no parameter {key:?}: {known}")]
    Parameter {
        /// The strategy.
        strategy: &'static str,
        /// What was given.
        key: String,
        /// What there is.
        known: String,
    },
    /// A parameter that is not written `key=value`, or that is given twice.
    #[error(
        "{strategy} is given {given:?}: each parameter is written key=value, once, with commas between them"
    )]
    Syntax {
        /// The strategy.
        strategy: &'static str,
        /// What was given.
        given: String,
    },
    /// A value that the parameter cannot have.
    #[error("{strategy}: {key} is {form}, not {value:?}")]
    Value {
        /// The strategy.
        strategy: &'static str,
        /// The parameter.
        key: &'static str,
        /// What it can be.
        form: &'static str,
        /// What was given.
        value: String,
    },
}

/// The strategies of one kind of liars.
pub(crate) struct Kind {
    pub(crate) strategies: &'static [Description],
    /// Who follows them, and the action that makes somebody do so.
    pub(crate) whose: &'static str,
}

/// The strategies of replicas.
pub(crate) const REPLICAS: Kind = Kind { strategies: crate::STRATEGIES, whose: "replicas (fault)" };

/// The strategies of clients.
pub(crate) const CLIENTS: Kind = Kind { strategies: crate::CLIENT_STRATEGIES, whose: "clients (attack)" };

impl Kind {
    fn place(&self, name: &str) -> Option<usize> {
        self.strategies.iter().position(|it| it.name == name)
    }

    /// Why there is no strategy of this name here.
    fn unknown(&self, name: &str) -> UnknownStrategy {
        let foreign = |other: &Self| {
            let name = other.strategies[other.place(name)?].name;
            Some(UnknownStrategy::Foreign { name, whose: other.whose, asked: self.whose })
        };
        let names = || self.strategies.iter().map(|it| it.name);
        [REPLICAS, CLIENTS].iter().find_map(foreign).unwrap_or_else(|| {
            let listed = || format!("there are {}", names().collect::<Vec<_>>().join(", "));
            let hint = nearest(name, names()).map_or_else(listed, |it| format!("did you mean {it}?"));
            UnknownStrategy::Name { name: name.to_owned(), hint }
        })
    }
}

/// One part of a text: a strategy, by its place among those of its kind, and its parameters.
pub(crate) struct Part<'a> {
    pub(crate) place: usize,
    pub(crate) values: Values<'a>,
}

/// Reads one part, whose name and parameters are among those of a kind. Blanks around it are no part of it.
pub(crate) fn parse<'a>(text: &'a str, kind: &Kind) -> Result<Part<'a>, UnknownStrategy> {
    let text = text.trim();
    let (name, parameters) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let place = kind.place(name).ok_or_else(|| kind.unknown(name))?;
    Ok(Part { place, values: Values::parse(parameters, &kind.strategies[place])? })
}

/// The values of a strategy's parameters.
pub(crate) struct Values<'a> {
    strategy: &'static Description,
    given: BTreeMap<&'a str, &'a str>,
}

impl<'a> Values<'a> {
    fn parse(text: Option<&'a str>, strategy: &'static Description) -> Result<Self, UnknownStrategy> {
        let mut given = BTreeMap::new();
        for pair in text.into_iter().flat_map(|text| text.split(',')) {
            let syntax = || UnknownStrategy::Syntax { strategy: strategy.name, given: pair.to_owned() };
            let (key, value) = pair.split_once('=').ok_or_else(syntax)?;
            if !strategy.parameters.iter().any(|it| it.name == key) {
                let known: Vec<_> = strategy.parameters.iter().map(|it| it.name).collect();
                let known = if known.is_empty() { "it has none".into() } else { known.join(", ") };
                let key = key.to_owned();
                return Err(UnknownStrategy::Parameter { strategy: strategy.name, key, known });
            }
            if given.insert(key, value).is_some() {
                return Err(syntax());
            }
        }
        Ok(Self { strategy, given })
    }

    /// The value of a parameter: the one given, else the default.
    ///
    /// # Panics
    /// If the strategy's description has no such parameter.
    pub(crate) fn get<T: Value>(
        &self,
        name: &str,
        configuration: &Configuration,
    ) -> Result<T, UnknownStrategy> {
        let parameter = self.strategy.parameters.iter().find(|it| it.name == name);
        let parameter = parameter.expect("a strategy asks for the parameters that it describes");
        let text = self.given.get(name).copied().unwrap_or(parameter.default);
        T::parse(text, configuration).ok_or_else(|| UnknownStrategy::Value {
            strategy: self.strategy.name,
            key: parameter.name,
            form: T::FORM,
            value: text.to_owned(),
        })
    }
}

/// What a parameter can be.
pub(crate) trait Value: Sized {
    /// What to write for it.
    const FORM: &'static str;

    /// Reads it, for one cluster.
    fn parse(text: &str, configuration: &Configuration) -> Option<Self>;
}

impl Value for u64 {
    const FORM: &'static str = "a whole number";

    fn parse(text: &str, _: &Configuration) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for Duration {
    const FORM: &'static str = "a time such as 300ms or 2s, or a share of the view timeout such as 75%";

    fn parse(text: &str, configuration: &Configuration) -> Option<Self> {
        // Nothing that is worth trying takes longer than a day, and sums of times must not overflow.
        const LONGEST: Duration = Duration::from_secs(86_400);
        let digits = text.find(|it: char| !it.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let number: u32 = number.parse().ok()?;
        let time = match unit {
            "ms" => Self::from_millis(number.into()),
            "s" => Self::from_secs(number.into()),
            "%" => configuration.parameters().view_timeout.checked_mul(number)? / 100,
            _ => return None,
        };
        (time <= LONGEST).then_some(time)
    }
}

/// A time, or `None` for ever.
impl Value for Option<Duration> {
    const FORM: &'static str = "a time such as 300ms or 2s, a share of the view timeout such as 75%, or ever";

    fn parse(text: &str, configuration: &Configuration) -> Option<Self> {
        if text == "ever" { Some(None) } else { Duration::parse(text, configuration).map(Some) }
    }
}

impl Value for ClientId {
    const FORM: &'static str = "an admitted client's key or its beginning, or first";

    fn parse(text: &str, configuration: &Configuration) -> Option<Self> {
        let prefix = if text == "first" { "" } else { text };
        configuration.clients().find(|(_, key)| key.to_string().starts_with(prefix)).map(|(client, _)| client)
    }
}

/// A parameter that is one of a few words.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)? }, $form:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum $name { $($(#[$variant_meta])* $variant),+ }

        impl crate::parameters::Value for $name {
            const FORM: &'static str = $form;

            fn parse(text: &str, _: &pbft_messages::Configuration) -> Option<Self> {
                match text {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use choice;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::configuration;

    #[test]
    fn times_are_absolute_or_shares_of_the_view_timeout() {
        let configuration = configuration(4);
        let read = |text| Duration::parse(text, &configuration);
        assert_eq!(read("300ms"), Some(Duration::from_millis(300)));
        assert_eq!(read("2s"), Some(Duration::from_secs(2)));
        assert_eq!(read("150%"), Some(configuration.parameters().view_timeout * 3 / 2));
        for bad in ["", "2", "s", "-1s", "2 s", "2min", "90000s", "99999999999s", "4294967295%"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
