//! Steps on SQLite database files.

use runwright_core::kind::Kind;

pub(crate) const KINDS: &[Kind] = &[];
