//! A replicated service of one's own, whole: a bank. An operation is the account to credit and an amount that must
//! come from the signing client's own account, which is opened with 100.
#![allow(clippy::print_stdout)] // Its output is what an example is for.
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use pbft_messages::{ClientId, Sequence, SessionId, Timestamp, codec};
use pbft_service::{Context, Output, Reader, RestoreError, Service, Snapshot, WholeSnapshot};

#[derive(Clone, Default)]
struct Bank {
    accounts: BTreeMap<ClientId, u64>,
}

impl Bank {
    fn transfer(&mut self, from: ClientId, operation: &[u8]) -> Result<u64, &'static str> {
        let (to, amount): (ClientId, u64) = codec::decode(operation).map_err(|_| "not a transfer")?;
        let balance = *self.accounts.entry(from).or_insert(100);
        let rest = balance.checked_sub(amount).ok_or("not enough money")?;
        self.accounts.insert(from, rest);
        *self.accounts.entry(to).or_insert(100) += amount;
        Ok(self.accounts[&from])
    }
}

impl Service for Bank {
    fn execute(&mut self, context: &Context, operation: &[u8]) -> Output {
        codec::encode(&self.transfer(context.client, operation)).into()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(self.clone())
    }

    fn snapshot(&mut self) -> Box<dyn Snapshot> {
        Box::new(WholeSnapshot::new(codec::encode(&self.accounts.iter().collect::<Vec<_>>())))
    }

    fn restore(&mut self, chunks: &mut dyn Iterator<Item = Bytes>) -> Result<(), RestoreError> {
        let accounts: Vec<_> = codec::decode(&WholeSnapshot::collect(chunks, 16 << 20)?)?;
        self.accounts = accounts.into_iter().collect();
        Ok(())
    }
}

impl Reader for Bank {
    fn query(&self, account: &[u8]) -> Bytes {
        let account = codec::decode(account).map(ClientId);
        codec::encode(&account.ok().and_then(|account| self.accounts.get(&account))).into()
    }
}

fn main() {
    let (alice, bob) = (ClientId([1; 32]), ClientId([2; 32]));
    let mut bank = Bank::default();
    let context = Context { sequence: Sequence(1), time: Timestamp(0), client: alice, session: SessionId(1) };
    for amount in [30u64, 100] {
        let result = bank.execute(&context, &codec::encode(&(bob, amount))).result;
        let rest: Result<u64, String> = codec::decode(&result).expect("the bank's own encoding");
        println!("alice sends {amount} to bob: {rest:?}");
    }
}
