//! Steps on name resolution, connections, listeners.

mod connect;
pub(crate) mod dial;

use runwright_core::kind::Kind;

pub(crate) const KINDS: &[Kind] = &[connect::KIND];
