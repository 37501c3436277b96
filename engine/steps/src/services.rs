//! Steps on services of a service manager.

use runwright_core::kind::Kind;

pub(crate) const KINDS: &[Kind] = &[];
