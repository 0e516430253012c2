//! `sim`: simulated clusters under faults that seeds draw.

mod arguments;
mod lesson;
mod many;
mod one;
mod tally;

use pbft_simulator::scenario::{Scenario, Swarm};

pub(crate) use arguments::{HELP, SimArguments};
pub(crate) use lesson::meaning;

use crate::exit::{BAD_INPUT, INTERRUPTED};
use crate::interrupt::Interrupt;

pub(crate) fn run(arguments: &SimArguments, quiet: bool, interrupt: &Interrupt) -> anyhow::Result<u8> {
    let swarm = Swarm { beyond_f: arguments.beyond_f, real_signatures: arguments.real_signatures };
    if let Some(path) = &arguments.scenario {
        return match one::read(path) {
            Some(scenario) => one::run(arguments, &path.display().to_string(), &scenario, quiet, interrupt),
            None => Ok(BAD_INPUT),
        };
    }
    match arguments.seed {
        Some(seed) if arguments.seeds.is_none() && arguments.duration.is_none() => {
            let scenario = Scenario::draw(seed, &swarm);
            one::run(arguments, &format!("seed {seed}"), &scenario, quiet, interrupt)
        }
        _ => many::run(arguments, &swarm, quiet, interrupt),
    }
}
