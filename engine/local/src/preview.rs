//! The preview: the same machine with a driver that looks and never acts.
