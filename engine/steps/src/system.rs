//! Steps on the machine itself.

use runwright_core::kind::Kind;

pub(crate) const KINDS: &[Kind] = &[];
