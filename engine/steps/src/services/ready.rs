//! Waits until a service is what it was told to be, and says why it is not.

use std::time::{Duration, Instant};

use runwright_core::kind::{Class, Cx, Failure};

use super::manager::{Managed, Order, State, Status};

/// How often a manager is asked while something is waited for.
const TICK: Duration = Duration::from_millis(100);

/// Carries out `order` and waits until the service has settled; returns what it does then.
///
/// `now` is what it did just before; it must be settled within `within`, and stay so for `stable_for`.
pub(super) async fn carry_out(
    cx: &Cx,
    service: &Managed,
    order: Order,
    now: &Status,
    within: Duration,
    stable_for: Duration,
) -> Result<Status, Failure> {
    let deadline = Instant::now() + within;
    let told = service.tell(cx, order, now, within).await;
    let settled = match told {
        Ok(()) => settle(cx, service, order, now, deadline, stable_for).await,
        // The manager goes on without whoever told it: what it has come to says more than our impatience.
        Err(failure) if failure.class == Class::Timeout => {
            settle(cx, service, order, now, deadline, stable_for).await
        }
        Err(failure) => Err(failure),
    };
    match settled {
        Ok(status) => Ok(status),
        Err(failure) if failure.class == Class::Cancelled => Err(failure),
        Err(failure) => Err(explained(cx, service, failure).await),
    }
}

async fn settle(
    cx: &Cx,
    service: &Managed,
    order: Order,
    before: &Status,
    deadline: Instant,
    stable_for: Duration,
) -> Result<Status, Failure> {
    let mut stable: Option<(Instant, Status)> = None;
    loop {
        if cx.host.cancelled() {
            return Err(Failure::new(
                Class::Cancelled,
                format!("{order} {service}: the step was to end while it waited"),
            ));
        }
        let status = *service.status(cx).await?;
        if order == Order::Stop {
            if matches!(status.state, State::Stopped | State::Failed) {
                return Ok(status);
            }
        } else if status.completed {
            return Ok(status);
        } else if status.state == State::Started
            && (order != Order::Restart || is_another(&status, before))
        {
            let since = match &stable {
                Some((since, first)) if is_the_same(&status, first) => *since,
                _ => Instant::now(),
            };
            if since.elapsed() >= stable_for {
                return Ok(status);
            }
            stable = Some((since, status.clone()));
        } else if matches!(status.state, State::Failed | State::Stopped) {
            return Err(Failure::new(
                Class::Exit,
                format!("{order} {service}: it did not stay up: {}", status.detail),
            ));
        } else {
            stable = None;
        }
        if Instant::now() >= deadline {
            let word = if order == Order::Stop {
                "stopped"
            } else {
                "ready"
            };
            let restarts = match status.restarts {
                Some(restarts) if restarts > 0 => format!(", restarted {restarts} times"),
                _ => String::new(),
            };
            return Err(Failure::new(
                Class::Timeout,
                format!(
                    "{order} {service}: it was not {word} in time: {}{restarts}",
                    status.detail
                ),
            )
            .hint("`ready_within` says how long it may take"));
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Returns whether a restart has replaced the process; a service without one is taken at its manager's word.
fn is_another(now: &Status, before: &Status) -> bool {
    now.pid.is_none() || now.pid != before.pid
}

/// Returns whether nothing broke in between.
fn is_the_same(now: &Status, first: &Status) -> bool {
    now.pid == first.pid && now.restarts == first.restarts
}

async fn explained(cx: &Cx, service: &Managed, mut failure: Failure) -> Failure {
    if let Ok(status) = service.status(cx).await
        && !failure.message.contains(&status.detail)
    {
        failure.causes.push(format!("it is {}", status.detail));
    }
    if let Some(lines) = service.last_lines(cx).await {
        failure.causes.push(format!("its last lines:\n{lines}"));
    }
    failure
}
