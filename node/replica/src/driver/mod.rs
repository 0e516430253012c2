//! The thread that owns the protocol's state: it hands inputs in one by one, and carries the effects out.

mod clock;
mod effects;
mod timers;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pbft_protocol::{Effects, Input, Now, Replica, Timer, WriteId};

use crate::RunError;
use crate::inbound::{Event, Inbound};
use crate::outlet::Outlet;

pub(crate) use clock::Clock;
pub(crate) use effects::{EvidenceBook, World};
use timers::Timers;

/// How long a stop in good order may take to become durable.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The driver. It runs on a thread of its own, since every hand-over between threads delays agreement.
pub(crate) struct Driver {
    replica: Replica,
    outlet: Box<dyn Outlet>,
    world: World,
    inbound: Inbound,
    clock: Clock,
    timers: Timers,
    /// Inputs that carrying out effects gave rise to at once.
    local: VecDeque<Input>,
    /// The last write that was issued, and the last that is durable.
    issued: WriteId,
    durable: WriteId,
    /// Set when the replica stops in good order: by when its writes must be durable.
    stopping: Option<Instant>,
}

impl Driver {
    /// A driver of a replica that has just started.
    pub(crate) fn new(
        replica: Replica,
        outlet: Box<dyn Outlet>,
        world: World,
        inbound: Inbound,
        clock: Clock,
    ) -> Self {
        Self {
            replica,
            outlet,
            world,
            inbound,
            clock,
            timers: Timers::default(),
            local: VecDeque::new(),
            issued: WriteId(0),
            durable: WriteId(0),
            stopping: None,
        }
    }

    /// Runs the replica until it stops. `effects` are those of its start.
    ///
    /// # Errors
    /// [`RunError`] unless it stopped in good order, because it was asked to.
    pub(crate) fn run(mut self, effects: Effects) -> Result<(), RunError> {
        let result = self.drive(effects);
        // Nobody reads any more what arrives from here on; what was to be written before still is.
        self.inbound.close();
        self.world.stop();
        result
    }

    fn drive(&mut self, effects: Effects) -> Result<(), RunError> {
        self.pass(self.clock.now(), effects)?;
        let mut batch = Vec::new();
        loop {
            // Each timer once at most, so that one which is always due cannot starve the rest.
            for _ in Timer::ALL {
                let Some(timer) = self.timers.expired(self.clock.now().instant) else { break };
                self.handle(Input::Timer(timer))?;
            }
            if let Some(deadline) = self.stopping {
                if self.durable >= self.issued {
                    return Ok(());
                }
                if Instant::now() >= deadline {
                    return Err(RunError::SlowStop(STOP_LIMIT.as_secs()));
                }
            }
            let deadline = self.timers.next().map(|at| self.clock.standard(at));
            let deadline = [deadline, self.stopping].into_iter().flatten().min();
            self.inbound.take(deadline, &mut batch);
            batch.drain(..).try_for_each(|event| self.on_event(event))?;
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), RunError> {
        match event {
            Event::Input(input) => self.handle(input),
            Event::Released { id, then } => {
                self.durable = id;
                // The outlet saw these when the write was issued.
                then.into_iter().try_for_each(|effect| self.carry_out(effect))?;
                self.handle(Input::Durable(id))
            }
            Event::Effect(effect) => self.pass(self.clock.now(), vec![effect].into()),
            Event::Answer(effect, room) => {
                drop(room);
                self.pass(self.clock.now(), vec![effect].into())
            }
            Event::Failed(error) => Err(error),
            Event::Standing(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send((self.replica.standing(), self.outlet.faults()));
                Ok(())
            }
            Event::Command(command, answer) => {
                // As above.
                let _ = answer.send(self.outlet.command(&command));
                Ok(())
            }
            Event::Stop if self.stopping.is_none() => {
                self.stopping = Some(Instant::now() + STOP_LIMIT);
                self.handle(Input::Shutdown)
            }
            Event::Stop => Ok(()),
        }
    }

    /// Hands an input in, and whatever that gives rise to at once.
    fn handle(&mut self, input: Input) -> Result<(), RunError> {
        let now = self.clock.now();
        self.outlet.hear(now, input, &mut self.local);
        while let Some(input) = self.local.pop_front() {
            let mut effects = Effects::new();
            self.replica.handle(now, input, &mut effects);
            self.pass(now, effects)?;
        }
        Ok(())
    }

    /// Lets effects pass the outlet, and carries out what comes out of it.
    fn pass(&mut self, now: Now, effects: Effects) -> Result<(), RunError> {
        let effects = self.outlet.pass(now, effects);
        effects.into_iter().try_for_each(|effect| self.carry_out(effect))
    }
}
