//! Ends what waits as soon as the step is to end.

use std::{future::Future, pin::pin, time::Duration};

use runwright_core::kind::{Class, Cx, Failure};

/// How often a waiting step asks whether it is to end.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Returns what `future` gives, or a failure of class `cancelled` once the step is to end; `what` fits after
/// "failed to".
pub(crate) async fn unless_cancelled<T>(
    cx: &Cx,
    what: &str,
    future: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut future = pin!(future);
    loop {
        if cx.host.cancelled() {
            return Err(Failure::new(
                Class::Cancelled,
                format!("{what}: the step was ended"),
            ));
        }
        if let Ok(output) = tokio::time::timeout(ASK_EVERY, future.as_mut()).await {
            return Ok(output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn what_never_ends_is_ended_by_a_cancel() {
        let bench = Bench::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let answer = runtime.block_on(unless_cancelled(bench.cx(), "wait", async { 5 }));
        assert_eq!(answer, Ok(5));
        bench.cancel();
        let ended = runtime.block_on(unless_cancelled(
            bench.cx(),
            "wait",
            std::future::pending::<()>(),
        ));
        assert_eq!(
            ended.map_err(|failure| failure.class),
            Err(Class::Cancelled)
        );
    }
}
