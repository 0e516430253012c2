//! Putting a replica together, and taking it apart.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use pbft_protocol::{Effects, LeftBehind, Replica};
use pbft_service::Service;
use pbft_transport::PeerReceivers;

use crate::boot::{Booted, boot};
use crate::control::{ControlServer, ControlSocket, Desk};
use crate::driver::{Clock, Driver, EvidenceBook, World};
use crate::events::{EventFile, EventLog, Metrics};
use crate::execution::{Archive, Audits, ChunkServer, Executor, Gatherer};
use crate::inbound::{Event, Inbound};
use crate::outlet::Outlet;
use crate::sockets::{Sockets, bind_clients, bind_peers};
use crate::store::{self, Writer, Written};
use crate::verify::{Checker, Pool, Sessions, receive_bulk, receive_clients, receive_votes};
use crate::{Durability, Options, RunError};

/// Runs a replica until `stop` is cancelled, or until it cannot go on. Must be called within a multi-threaded tokio
/// runtime.
///
/// The service must be in its first state; it is restored from the last snapshot if there is one. When this returns,
/// all that was to be written is, the threads have ended, and the ports are free.
///
/// # Errors
/// [`RunError`] if the replica did not start, or did not stop in good order because it was asked to.
pub async fn run(
    options: Options,
    service: Box<dyn Service>,
    outlet: Box<dyn Outlet>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let (identity, data, durability) = (options.identity.clone(), options.data.clone(), options.durability);
    // Reading and checking a large store takes seconds.
    let booting = tokio::task::spawn_blocking(move || boot(&identity, &data, durability, service));
    let booted = booting.await.map_err(|_| RunError::Panicked("that opens the store"))??;
    let (network, receivers) = bind_peers(&options)?;
    let result = match bind_clients(&options) {
        Ok((listener, events)) => {
            let sockets = Sockets { network: network.clone(), receivers, listener: listener.clone(), events };
            let result = run_on(&options, booted, outlet, sockets, stop).await;
            listener.shutdown().await;
            result
        }
        Err(error) => Err(error),
    };
    network.shutdown().await;
    result
}

/// Runs a replica on open sockets, which the caller closes.
async fn run_on(
    options: &Options,
    booted: Booted,
    outlet: Box<dyn Outlet>,
    sockets: Sockets,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let control = ControlSocket::bind(&options.data)?;
    if options.durability == Durability::Memory {
        store::mark_memory_mode(&options.data)?;
    }
    Running::start(options, booted, outlet, sockets, control, stop.clone())?.until(stop).await
}

/// Stops the driver, which ends the other threads, even if the future of [`run`] is dropped.
struct StopOnDrop(Inbound);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.event(Event::Stop);
    }
}

/// A replica that runs.
struct Running {
    stop: StopOnDrop,
    driver: oneshot::Receiver<Result<(), RunError>>,
    driver_thread: thread::JoinHandle<()>,
    control: ControlServer,
    pool: Pool,
    receiving: Vec<tokio::task::JoinHandle<()>>,
    events: EventFile,
}

impl Running {
    fn start(
        options: &Options,
        booted: Booted,
        outlet: Box<dyn Outlet>,
        sockets: Sockets,
        control: ControlSocket,
        stop: CancellationToken,
    ) -> Result<Self, RunError> {
        let Booted { store, records, chunks, service, ledger } = booted;
        let next_deadline = service.next_deadline();
        let Sockets { network, receivers, listener, events: client_events } = sockets;
        let (configuration, me) = (options.identity.configuration().clone(), options.identity.me());
        let (inbound, metrics, clock) = (Inbound::default(), Arc::new(Metrics::default()), Clock::start());
        let (audits, sessions, evidence) = (Audits::default(), Sessions::default(), EvidenceBook::default());
        let events = EventLog::new(me, metrics.clone());
        evidence.add(&records);

        let mut effects = Effects::new();
        let replica = Replica::start(
            configuration.clone(),
            me,
            options.identity.key().clone(),
            LeftBehind { records, ledger, next_deadline },
            clock.now(),
            &mut effects,
        )
        .map_err(|source| RunError::Records { folder: options.data.path().into(), source })?;

        let file = EventFile::start(events.clone(), &options.data)
            .map_err(|source| RunError::Events { path: options.data.events(), source })?;
        let archive = Archive { chunks: chunks.clone(), audits: audits.clone(), inbound: inbound.clone() };
        let gatherer = Gatherer::start(chunks.clone(), inbound.clone())?;
        let world = World {
            network: network.clone(),
            listener: listener.clone(),
            sessions: sessions.clone(),
            writer: {
                let (inbound, metrics, remove_below) = (inbound.clone(), metrics.clone(), gatherer.remover());
                Writer::start(store, move |written| match written {
                    Written::Durable { id, then } => inbound.event(Event::Released { id, then }),
                    Written::Committed { writes, elapsed } => metrics.committed(writes, elapsed),
                    Written::Collected(through, keep) => remove_below(through, keep),
                    Written::Failed(error) => inbound.event(Event::Failed(error.into())),
                })?
            },
            durability: options.durability,
            executor: Executor::start(service, archive)?,
            chunks: ChunkServer::start(chunks, inbound.clone())?,
            gatherer,
            events: events.clone(),
            evidence: evidence.clone(),
        };
        let pool = Pool::start(Checker {
            configuration,
            network: network.clone(),
            listener: listener.clone(),
            inbound: inbound.clone(),
            metrics: metrics.clone(),
        })?;
        let driver = Driver::new(replica, outlet, world, inbound.clone(), clock);
        let (driver_thread, driver) = start_driver(driver, effects)?;
        let PeerReceivers { votes, bulk, mut links } = receivers;
        let receiving = vec![
            tokio::spawn(receive_votes(votes, &pool)),
            tokio::spawn(receive_bulk(bulk, &pool)),
            tokio::spawn(receive_clients(client_events, &pool, sessions)),
            tokio::spawn(async move {
                while let Some(event) = links.recv().await {
                    tracing::debug!(replica = %me, ?event, "a link changed");
                }
            }),
        ];
        tracing::info!(
            replica = %me,
            peers = %network.local_addr(),
            clients = %listener.local_addr(),
            data = %options.data.path().display(),
            durability = %options.durability,
            "listens"
        );
        // Last of all: whoever gets an answer on this socket knows that the replica is there.
        let control = control.serve(Desk {
            replica: me,
            peer_address: network.local_addr(),
            client_address: listener.local_addr(),
            durability: options.durability,
            inbound: inbound.clone(),
            audits,
            events,
            evidence,
            metrics,
            network,
            listener,
            stop,
        });
        let stop = StopOnDrop(inbound);
        Ok(Self { stop, driver, driver_thread, control, pool, receiving, events: file })
    }

    /// Waits for the end, asked for or not, and takes the replica apart.
    async fn until(mut self, stop: CancellationToken) -> Result<(), RunError> {
        let ended = tokio::select! {
            ended = &mut self.driver => ended,
            () = stop.cancelled() => {
                self.stop.0.event(Event::Stop);
                self.driver.await
            }
        };
        // The channel breaks only if the driver panics.
        let result = ended.unwrap_or(Err(RunError::Panicked("pbft-driver")));
        self.receiving.iter().for_each(tokio::task::JoinHandle::abort);
        self.control.stop().await;
        let (pool, events, driver) = (self.pool, self.events, self.driver_thread);
        let ending = tokio::task::spawn_blocking(move || {
            pool.stop();
            events.stop();
            // Whether it panicked is known already.
            let _ = driver.join();
        });
        // What the threads had to tell was told; how they end changes nothing.
        let _ = ending.await;
        result
    }
}

type DriverEnd = oneshot::Receiver<Result<(), RunError>>;

fn start_driver(driver: Driver, effects: Effects) -> io::Result<(thread::JoinHandle<()>, DriverEnd)> {
    let (sender, receiver) = oneshot::channel();
    let thread = thread::Builder::new().name("pbft-driver".into()).spawn(move || {
        // Nobody waits for the result if the runtime itself is gone.
        let _ = sender.send(driver.run(effects));
    })?;
    Ok((thread, receiver))
}
