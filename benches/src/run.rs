//! A whole run: sessions, load, verdict, report.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use pbft_client::Connector;
use pbft_messages::Configuration;

use crate::journal::Journal;
use crate::load::{Measured, Progress, Run, drive};
use crate::order::Order;
use crate::preload::preload;
use crate::read_back::read_back;
use crate::record::{Durability, Record};
use crate::report::Report;
use crate::sessions::{SessionsError, open_sessions};
use crate::settings::Settings;
use crate::values::Values;

/// What a run is doing.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'a> {
    /// It opens its sessions.
    Opening,
    /// It writes all keys.
    Preloading,
    /// It loads the cluster; told as the load begins, and every second from then on.
    Loading(Option<&'a Progress>),
    /// It reads back what was acknowledged.
    ReadingBack,
}

/// What a result is to remember besides what the program knows.
#[derive(Clone, Debug, Default)]
pub struct Remarks {
    /// How the replicas keep what they acknowledge.
    pub durability: Durability,
    /// Anything.
    pub note: Option<String>,
}

/// Opens sessions of the connectors' clients in turn, loads the cluster, reads back what it acknowledged, and closes
/// the sessions. The settings must have been checked; `connectors` are [`Settings::identities`] in number.
///
/// The first cancellation of `interrupt` ends the load early, or what comes before or after it, whichever is under way.
/// After a load that was ended early all is read back.
///
/// # Errors
/// [`SessionsError`]: there is no result. Nothing that was written is known then.
pub async fn run(
    connectors: &[Connector],
    cluster: &Configuration,
    settings: &Settings,
    remarks: Remarks,
    interrupt: &CancellationToken,
    mut observe: impl FnMut(Stage<'_>),
) -> Result<(Report, Measured), SessionsError> {
    let (order, values) = (Arc::new(Order::default()), Values::new(rand::random(), settings.payload));

    observe(Stage::Opening);
    let sessions = tokio::select! {
        sessions = open_sessions(connectors, settings.connections, &order) => sessions?,
        () = interrupt.cancelled() => return Err(SessionsError::Interrupted),
    };
    let run = Run { settings, values: &values, sessions: &sessions, order: &order };

    let (mut journal, mut written) = (Journal::default(), 0);
    if settings.preload {
        observe(Stage::Preloading);
        journal = tokio::select! {
            journal = preload(&run) => journal.map_err(SessionsError::Preload)?,
            () = interrupt.cancelled() => return Err(SessionsError::Interrupted),
        };
        written = settings.keys.into();
    }

    observe(Stage::Loading(None));
    let record = Record::new(settings, cluster, &values, remarks);
    let update = |progress: &Progress| observe(Stage::Loading(Some(progress)));
    let mut measured = drive(&run, journal, written, interrupt, update).await;

    observe(Stage::ReadingBack);
    // The signal that ended the load has been heard; one that comes from now on ends the reading.
    let interrupt = if measured.interrupted { CancellationToken::new() } else { interrupt.clone() };
    let verdict = read_back(&run, &measured.journal, &interrupt).await;
    measured.interrupted |= interrupt.is_cancelled();
    Ok((Report::new(&measured, verdict, record), measured))
}
