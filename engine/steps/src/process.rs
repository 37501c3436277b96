//! Steps on programs and scripts.

use runwright_core::kind::Kind;

pub(crate) const KINDS: &[Kind] = &[];
