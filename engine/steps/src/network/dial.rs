//! Finds the addresses of a host and connects to the one that answers first.
//!
//! No timeouts in here: who calls wraps each phase in their own, and so knows in which one the time ran out.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

/// How long an address has for itself before the next one is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reason {
    /// Nobody listens there.
    Refused,
    /// No answer in time: a firewall that drops, a machine that is off, a server that hangs.
    Timeout,
    /// The name has no address, or no name server could be asked.
    Unresolved,
    /// There is no way to the address, or a firewall on this machine forbids it.
    Unreachable,
    /// The other side closed or reset the connection.
    Closed,
    /// There is no such socket file.
    Missing,
}

impl Reason {
    /// Returns the reason that `error` of a connection attempt means; none when it tells nothing about the other side
    /// (no more file descriptors, say).
    pub(crate) fn of(error: &io::Error) -> Option<Reason> {
        use io::ErrorKind as Kind;
        Some(match error.kind() {
            Kind::ConnectionRefused => Reason::Refused,
            Kind::TimedOut => Reason::Timeout,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
                Reason::Unreachable
            }
            // A REJECT or DROP rule for outgoing packets, or no address of this family on this machine.
            Kind::PermissionDenied | Kind::AddrNotAvailable => Reason::Unreachable,
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::UnexpectedEof => Reason::Closed,
            Kind::NotFound => Reason::Missing,
            _ => return None,
        })
    }
}

/// No address of a host could be connected to.
#[derive(Debug, thiserror::Error)]
pub(crate) struct NoConnection {
    /// Each address with its error, in the order of their failures; never empty.
    tried: Vec<(SocketAddr, io::Error)>,
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (address, error)) in self.tried.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{address}: {}", plain(error))?;
        }
        Ok(())
    }
}

impl NoConnection {
    /// Returns why, where every address but the unreachable ones gave the same reason: a host that has IPv6 addresses
    /// and refuses over IPv4 refuses.
    pub(crate) fn reason(&self) -> Option<Reason> {
        let reasons: Vec<Option<Reason>> = self
            .tried
            .iter()
            .map(|(_, error)| Reason::of(error))
            .collect();
        let telling = reasons
            .iter()
            .find(|reason| **reason != Some(Reason::Unreachable));
        *telling.or(reasons.first())?
    }
}

/// Returns the text of `error` in lower case at its start and without the number the standard library adds.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters
        .next()
        .into_iter()
        .flat_map(char::to_lowercase)
        .chain(letters)
        .collect()
}

/// Returns the addresses of `host`, which may be an address itself (an IPv6 one without brackets).
pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    match addresses.is_empty() {
        true => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        )),
        false => Ok(addresses),
    }
}

/// Connects to the first of `addresses` that answers.
///
/// They are tried one after the other, each with a small head start over the next, so that a family whose packets get
/// lost doesn't cost the whole timeout.
pub(crate) async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, NoConnection> {
    if let [address] = addresses {
        return TcpStream::connect(address)
            .await
            .map_err(|error| NoConnection {
                tried: vec![(*address, error)],
            });
    }
    let mut waiting = families_in_turn(addresses).into_iter();
    let mut trying = JoinSet::new();
    let mut tried = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            trying.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        let ended = match waiting.len() {
            0 => trying.join_next().await,
            _ => match timeout(HEAD_START, trying.join_next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            },
        };
        match ended {
            Some(Ok((_, Ok(stream)))) => return Ok(stream),
            Some(Ok((address, Err(error)))) => tried.push((address, error)),
            // A connect neither panics nor is it aborted.
            Some(Err(_)) => {}
            None => return Err(NoConnection { tried }),
        }
    }
}

/// Returns the addresses with the families in turn, the first one's family first.
fn families_in_turn(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses
        .iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut turns = Vec::with_capacity(addresses.len());
    first.reverse();
    second.reverse();
    while turns.len() < addresses.len() {
        turns.extend(first.pop());
        turns.extend(second.pop());
    }
    turns
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(future)
    }

    #[test]
    fn an_address_that_refuses_does_not_hide_one_that_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let open = listener.local_addr().expect("an address");
        let closed = {
            let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
            gone.local_addr().expect("an address")
        };
        let stream = block_on(connect(&[closed, open])).expect("one of them listens");
        assert_eq!(stream.peer_addr().expect("a peer"), open);
        let error = block_on(connect(&[closed, closed])).expect_err("nobody listens");
        assert_eq!(error.reason(), Some(Reason::Refused));
        assert_eq!(
            error.to_string(),
            format!("{closed}: connection refused, {closed}: connection refused")
        );
    }

    #[test]
    fn families_take_turns() {
        let parse = |texts: &[&str]| -> Vec<SocketAddr> {
            texts
                .iter()
                .map(|text| text.parse().expect("an address"))
                .collect()
        };
        assert_eq!(
            families_in_turn(&parse(&[
                "[::1]:1",
                "[::2]:1",
                "1.1.1.1:1",
                "[::3]:1",
                "2.2.2.2:1"
            ])),
            parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"])
        );
    }
}
