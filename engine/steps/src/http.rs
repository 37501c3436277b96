//! Steps on HTTP requests.
//!
//! Requests are made here, on hyper, and not by one of the usual clients: none of them tells how long each phase took.
//! Each request has a connection of its own, so that what is measured is what a new client would see. It speaks
//! HTTP/1.1, uses no proxy, and asks for no compression.

mod arguments;
mod call;
mod check;
mod exchange;
mod redirect;
mod request;
mod response;
#[cfg(test)]
mod testing;
mod tls;

use runwright_core::kind::Kind;

pub(crate) const KINDS: &[Kind] = &[request::KIND];
