//! Making a strategy before anybody is to follow it, to find out whether that can be done at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use pbft_byzantine::{ClientIdentity, Identity, UnknownStrategy, client_strategy, described, strategy};
use pbft_crypto::{SecretKey, Signer};
use pbft_messages::{Configuration, ParametersTable, ReplicaId};

use crate::create::imagine;
use crate::{Testnet, TestnetError};

/// A cluster for which strategies are made that nobody follows.
pub(crate) struct Rehearsal {
    configuration: Arc<Configuration>,
    /// The testnet's own client, which its load runs as.
    client: Arc<SecretKey>,
}

impl Rehearsal {
    /// For a testnet that is yet to be made.
    pub(crate) fn new(n: usize, parameters: ParametersTable) -> Result<Self, TestnetError> {
        let (configuration, client) = imagine(n, parameters)?;
        Ok(Self { configuration: Arc::new(configuration), client: Arc::new(client) })
    }

    /// For a testnet that is there.
    pub(crate) fn of(testnet: &Testnet) -> Result<Self, TestnetError> {
        let (configuration, client) = (testnet.configuration().clone(), testnet.client_key()?);
        Ok(Self { configuration: Arc::new(configuration), client: Arc::new(client) })
    }

    /// The text of a replica's strategy as the replica must be told it. Where the strategy picks a client, that is the
    /// testnet's own, unless the text says whom.
    pub(crate) fn strategy(&self, text: &str) -> Result<String, UnknownStrategy> {
        let load = format!("client={}", self.client.public_key());
        let aimed = text.split('+').map(|part| aimed(part.trim(), &load)).collect::<Result<Vec<_>, _>>()?;
        let aimed = aimed.join("+");
        let identity = Identity {
            replica: ReplicaId(0),
            signer: Arc::clone(&self.client) as Arc<dyn Signer>,
            configuration: Arc::clone(&self.configuration),
            accomplices: BTreeMap::new(),
        };
        strategy(&aimed, &identity).map(|_| aimed)
    }

    /// Makes a client's strategy.
    pub(crate) fn attack(&self, text: &str) -> Result<(), UnknownStrategy> {
        let identity = ClientIdentity {
            client: self.client.public_key().into(),
            signers: vec![Arc::clone(&self.client) as Arc<dyn Signer>],
            configuration: Arc::clone(&self.configuration),
        };
        client_strategy(text, &identity).map(drop)
    }
}

/// One part of a text, with `load` for its client if it has one and none is given, or this one by the name of `load`.
fn aimed(part: &str, load: &str) -> Result<String, UnknownStrategy> {
    let picks_a_client = described(part)?.iter().any(|it| it.parameters.iter().any(|it| it.name == "client"));
    if !picks_a_client {
        return Ok(part.to_owned());
    }
    if part.contains("client=") {
        return Ok(part.replace("client=load", load));
    }
    let sign = if part.contains(':') { ',' } else { ':' };
    Ok(format!("{part}{sign}{load}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_picks_a_client_picks_the_load_unless_told() {
        let aimed = |part| aimed(part, "client=abc").unwrap();
        assert_eq!(aimed("slow:delay=1s"), "slow:delay=1s");
        assert_eq!(aimed("starve"), "starve:client=abc");
        assert_eq!(aimed("starve:delay=1s"), "starve:delay=1s,client=abc");
        assert_eq!(aimed("starve:client=load"), "starve:client=abc");
        assert_eq!(aimed("starve:client=first"), "starve:client=first");
    }

    #[test]
    fn what_cannot_be_made_is_found_out() {
        let rehearsal = Rehearsal::new(4, ParametersTable::default()).unwrap();
        let load = rehearsal.client.public_key();
        assert_eq!(
            rehearsal.strategy(" slow + starve ").unwrap(),
            format!("slow+starve:client={load}"),
            "the client is admitted"
        );
        let complaint = rehearsal.strategy("slow:delay=300").unwrap_err().to_string();
        assert!(complaint.starts_with("slow: delay is a time such as"), "{complaint}");
        assert!(rehearsal.strategy("starve:client=nobody").is_err());
        assert!(rehearsal.attack("flood-requests:rate=5").is_ok());
        assert!(rehearsal.attack("flood-requests:rate=many").is_err());
    }
}
