//! Steps on HTTP requests.

use runwright_core::kind::Kind;

pub(crate) const KINDS: &[Kind] = &[];
