//! The undo of a change that loses nothing.

use runwright_core::kind::{Cx, Failure, Undo, UndoLook};
use serde::{Deserialize, Serialize};

/// Says that there is nothing to undo: the change moves or rebuilds what is there, and no content differs after it.
///
/// A kind with this undo counts as undone by itself, without one ever being registered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct NothingToUndo {
    // A type without a size would say that nobody undoes the change.
    version: u8,
}

impl Undo for NothingToUndo {
    fn describe(&self) -> String {
        "nothing to undo".to_owned()
    }

    async fn look(&self, _: &Cx) -> Result<UndoLook, Failure> {
        Ok(UndoLook::Done)
    }

    async fn perform(&self, _: &Cx) -> Result<(), Failure> {
        Ok(())
    }
}
