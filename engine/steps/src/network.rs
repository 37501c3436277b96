//! Steps on name resolution, connections, listeners.

use runwright_core::kind::Kind;

pub(crate) const KINDS: &[Kind] = &[];
