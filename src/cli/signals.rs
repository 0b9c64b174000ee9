//! What ends a process that serves: the first SIGINT or SIGTERM in good order, the second at once.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that a second signal ended, as a shell names the end by SIGINT.
const INTERRUPTED: i32 = 130;

/// A token that is cancelled by the first SIGINT or SIGTERM. The second ends the process.
///
/// # Errors
/// When the system lets no handler be set.
pub(super) fn until_told_to_stop() -> anyhow::Result<CancellationToken> {
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let told = CancellationToken::new();
    let token = told.clone();
    tokio::spawn(async move {
        next(&mut interrupt, &mut terminate).await;
        tracing::info!("stopping; another signal stops at once");
        token.cancel();
        next(&mut interrupt, &mut terminate).await;
        std::process::exit(INTERRUPTED);
    });
    Ok(told)
}

/// Listens for a signal; from now on it does not end the process by itself.
///
/// # Errors
/// When the system lets no handler be set.
pub(super) fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("no handler can be set for a signal")
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
