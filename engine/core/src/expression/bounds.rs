//! How much one evaluation may do.
//!
//! Expressions have no loops, but lists and texts can be long and, by sharing, values can be far larger than the memory
//! they take. So everything that walks or makes values pays for it.

use std::cell::Cell;

use super::problem::Problem;
use crate::value::Value;

/// The most items a list or a map may have that an expression makes.
const MOST_ITEMS: usize = 1_000_000;
/// The most bytes a text may have that an expression makes.
const MOST_TEXT: usize = 16 << 20;
/// The most values one evaluation may touch.
const MOST_WORK: u64 = 20_000_000;
/// How deep values may be nested that an expression looks into.
const MOST_DEPTH: usize = 256;

pub(super) struct Fuel {
    left: Cell<u64>,
}

impl Fuel {
    pub(super) fn new() -> Fuel {
        Fuel {
            left: Cell::new(MOST_WORK),
        }
    }

    /// Pays for `work` values touched.
    pub(super) fn spend(&self, work: usize) -> Result<(), Problem> {
        match self.left.get().checked_sub(work as u64) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(Problem::wrong(
                "evaluate the expression: its values are too large",
            )),
        }
    }

    /// Pays for a list of `count` items.
    pub(super) fn items(&self, count: usize) -> Result<(), Problem> {
        if count > MOST_ITEMS {
            return Err(Problem::wrong(format!(
                "make a list of {count} items: {MOST_ITEMS} are the most"
            )));
        }
        self.spend(count)
    }

    /// Pays for a text of `length` bytes.
    pub(super) fn text(&self, length: usize) -> Result<(), Problem> {
        if length > MOST_TEXT {
            return Err(Problem::wrong(format!(
                "make a text of {length} bytes: {MOST_TEXT} are the most"
            )));
        }
        self.spend(length / 64)
    }

    /// Returns the first value for which `is` holds, `value` or one inside it.
    pub(super) fn find<'v>(
        &self,
        value: &'v Value,
        is: &dyn Fn(&Value) -> bool,
    ) -> Result<Option<&'v Value>, Problem> {
        self.find_below(value, is, 0)
    }

    /// Says that values are nested deeper than an expression looks.
    pub(super) fn depth(&self, depth: usize) -> Result<(), Problem> {
        if depth > MOST_DEPTH {
            return Err(Problem::wrong("look into a value that is nested so deeply"));
        }
        Ok(())
    }

    fn find_below<'v>(
        &self,
        value: &'v Value,
        is: &dyn Fn(&Value) -> bool,
        depth: usize,
    ) -> Result<Option<&'v Value>, Problem> {
        if is(value) {
            return Ok(Some(value));
        }
        self.depth(depth)?;
        match value {
            Value::List(items) => {
                self.spend(items.len())?;
                self.first_in(items.iter(), is, depth)
            }
            Value::Map(fields) => {
                self.spend(fields.len())?;
                self.first_in(fields.values(), is, depth)
            }
            _ => Ok(None),
        }
    }

    fn first_in<'v>(
        &self,
        values: impl Iterator<Item = &'v Value>,
        is: &dyn Fn(&Value) -> bool,
        depth: usize,
    ) -> Result<Option<&'v Value>, Problem> {
        for value in values {
            if let Some(found) = self.find_below(value, is, depth + 1)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
