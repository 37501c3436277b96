//! Steps on what lies on a file system.

use runwright_core::kind::Kind;

pub(crate) const KINDS: &[Kind] = &[];
