//! Steps of the demonstration: bounded in time, and told about.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use crate::failure::Failure;
use crate::output::Output;

/// No step takes longer, on a machine that is slow and busy: the demonstration ends by itself.
const STEP: Duration = Duration::from_secs(120);

/// A failure of the demonstration.
pub(super) const fn failed(sentence: String) -> Failure {
    Failure::Demo(sentence)
}

/// Does one thing for somebody, in bounded time.
pub(super) async fn bounded<T, E: Display>(
    what: &str,
    doing: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(STEP, doing).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failed(format!("{what}: {error}"))),
        Err(_) => Err(failed(format!("{what}: it did not happen within {} s", STEP.as_secs()))),
    }
}

/// Says what happens now. Progress is no result: with JSON nothing is said.
pub(super) fn tell(output: &Output, what: &str) {
    output.remark(&format!("- {what}"));
}
