//! The harness of the tests that drive the real program.

use camino::Utf8PathBuf;

/// Returns the folder of the whole workspace.
pub fn root() -> Utf8PathBuf {
    Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the workspace")
        .to_owned()
}
