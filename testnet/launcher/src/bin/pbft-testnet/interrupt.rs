//! Ctrl-C for commands that end with what they have: they look up now and then whether it came, or wait for it.

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::exit::INTERRUPTED;

/// Whether Ctrl-C, or SIGTERM, came.
pub(crate) struct Interrupt(CancellationToken);

impl Interrupt {
    /// Watches for it from now on. Who asks a second time does not wait for what there is: that ends the process.
    pub(crate) fn watch(runtime: &Runtime) -> Self {
        let came = CancellationToken::new();
        let tell = came.clone();
        runtime.spawn(async move {
            while crate::interrupted().await.is_ok() {
                if tell.is_cancelled() {
                    std::process::exit(INTERRUPTED.into());
                }
                tell.cancel();
            }
        });
        Self(came)
    }

    /// Whether it came.
    pub(crate) fn came(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Cancelled when it comes.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.0
    }
}
