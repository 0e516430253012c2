//! `attack`: a malicious client in the foreground.

use pbft_testnet::Testnet;
use pbft_testnet::attack::{Attack, Attacked};

use crate::arguments::AttackArguments;
use crate::exit::INTERRUPTED;
use crate::interrupt::Interrupt;
use crate::output::{note, result};

pub(crate) async fn run(arguments: &AttackArguments, interrupt: &Interrupt) -> anyhow::Result<u8> {
    let AttackArguments { strategy, last, clients, at } = arguments;
    let (strategy, clients) = (strategy.clone(), *clients);
    let testnet = Testnet::open(&at.dir)?;
    let attack = Attack { strategy, clients, last: last.map(|last| last.0) };
    attack.check_on(&testnet)?;
    let lasting = last.map_or("until Ctrl-C".to_owned(), |last| format!("for {last}"));
    note(&format!("a client with {clients} identities follows {} {lasting}", attack.strategy));
    let Attacked { sent, heard, cut } = attack.run(&testnet, interrupt.token()).await?;
    result(&format!("{sent} messages sent, {heard} came back, {cut} connections were closed by replicas"))?;
    // Without a time, Ctrl-C is how it is meant to end.
    Ok(if last.is_some() && interrupt.came() { INTERRUPTED } else { 0 })
}
