//! Drives one kind in a test as a run would: read the arguments, look, keep, perform, undo.

use std::{
    fs, io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{
        Children, Cx, Description, Digest, Failure, Hasher, Host, Kind, Looked, PlainHasher,
        Progress, Stream, UndoLook, UndoRecord,
    },
    units::Time,
    value::Value,
};
use serde_json::Value as Json;

/// A folder of its own, gone afterwards, and a context whose kept contents lie in it.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    host: Arc<BenchHost>,
    cx: Cx,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "tests write the arguments where they call"
)]
impl Bench {
    pub(crate) fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("a UTF-8 path");
        let kept = path.join(".kept");
        fs::create_dir(&kept).expect("a folder for kept contents");
        let host = Arc::new(BenchHost {
            kept,
            output: Mutex::default(),
            cancelled: AtomicBool::new(false),
            keys_digests: AtomicBool::new(false),
            keys_are_lost: AtomicBool::new(false),
            groups: Mutex::default(),
        });
        let env = ["PATH", "HOME", "USER", "LANG", "TZ"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
            .collect();
        let cx = Cx {
            run: "testrun00000".into(),
            step: "step".into(),
            attempt: 1,
            children: Arc::new(Children {
                env,
                cwd: path,
                umask: 0o022,
            }),
            host: host.clone(),
        };
        Bench { folder, host, cx }
    }

    /// Returns the path of `name` in the bench's folder.
    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path())
            .expect("a UTF-8 path")
            .join(name)
    }

    pub(crate) fn cx(&self) -> &Cx {
        &self.cx
    }

    /// Sets a variable of the environment that the step's processes start with.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        Arc::make_mut(&mut self.cx.children)
            .env
            .insert(name.to_owned(), value.to_owned());
    }

    /// Tells the running step to end, as a timeout or Ctrl-C does.
    pub(crate) fn cancel(&self) {
        self.host.cancelled.store(true, Ordering::SeqCst);
    }

    /// Lets new digests be keyed, as in a step whose arguments hold a secret, or not.
    pub(crate) fn key_digests(&self, keyed: bool) {
        self.host.keys_digests.store(keyed, Ordering::SeqCst);
    }

    /// Loses all keys, as when the folder of a run is gone.
    pub(crate) fn lose_keys(&self) {
        self.host.keys_are_lost.store(true, Ordering::SeqCst);
    }

    /// Returns what the step's processes printed on `stream`.
    pub(crate) fn output(&self, stream: Stream) -> String {
        let output = self.host.output.lock().expect("no test thread panicked");
        let bytes: Vec<u8> = output
            .iter()
            .filter(|(from, _)| *from == stream)
            .flat_map(|(_, bytes)| bytes.clone())
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn describe(&self, kind: Kind, arguments: Json) -> Description {
        open(kind, &arguments).describe()
    }

    pub(crate) fn look(&self, kind: Kind, arguments: Json) -> Result<Looked, Failure> {
        block_on(open(kind, &arguments).look(&self.cx))
    }

    /// Does what a run does: look; where something is needed keep and perform. Returns result and undo.
    pub(crate) fn run(
        &self,
        kind: Kind,
        arguments: Json,
    ) -> Result<(Value, Option<UndoRecord>), Failure> {
        let action = open(kind, &arguments);
        block_on(async {
            let before = match action.look(&self.cx).await? {
                Looked::Done(result) => return Ok((result, None)),
                Looked::Needed { before, .. } => Some(before),
                Looked::Unclear => None,
            };
            let undo = match &before {
                Some(before) => action.keep(&self.cx, before).await?,
                None => None,
            };
            Ok((action.perform(&self.cx, before.as_ref()).await?, undo))
        })
    }

    /// Undoes as a rollback does: look first, act only when that says so. Returns what the look said.
    pub(crate) fn undo(&self, kind: Kind, record: &UndoRecord) -> Result<UndoLook, Failure> {
        let undo = (kind.open_undo)(&record.data).expect("a stored undo reads back");
        block_on(async {
            let look = undo.look(&self.cx).await?;
            if look == UndoLook::Needed {
                undo.perform(&self.cx).await?;
            }
            Ok(look)
        })
    }
}

/// Returns the kind of `kinds` that has `name`.
pub(crate) fn kind(name: &str) -> Kind {
    crate::kinds()
        .into_iter()
        .find(|kind| kind.name == name)
        .expect("a registered kind")
}

fn open(kind: Kind, arguments: &Json) -> Box<dyn runwright_core::kind::Action> {
    (kind.open)(&Value::from_stored(arguments)).expect("valid arguments")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

struct BenchHost {
    kept: Utf8PathBuf,
    output: Mutex<Vec<(Stream, Vec<u8>)>>,
    cancelled: AtomicBool,
    keys_digests: AtomicBool,
    keys_are_lost: AtomicBool,
    /// The process groups that have started and not ended.
    groups: Mutex<Vec<u32>>,
}

impl Host for BenchHost {
    fn output(&self, stream: Stream, bytes: &[u8]) {
        self.output
            .lock()
            .expect("no test thread panicked")
            .push((stream, bytes.to_vec()));
    }

    fn progress(&self, _: Progress) {}

    fn now(&self) -> Time {
        Time::from_milliseconds(jiff::Timestamp::now().as_millisecond())
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    fn hasher(&self) -> Box<dyn Hasher> {
        match self.keys_digests.load(Ordering::SeqCst) {
            true => BenchHasher::boxed("0123456789abcdef"),
            false => PlainHasher::boxed(),
        }
    }

    fn hasher_like(&self, recorded: &Digest) -> io::Result<Box<dyn Hasher>> {
        match recorded.key() {
            None => Ok(PlainHasher::boxed()),
            Some(_) if self.keys_are_lost.load(Ordering::SeqCst) => {
                Err(io::ErrorKind::NotFound.into())
            }
            Some(key) => Ok(BenchHasher::boxed(key)),
        }
    }

    fn keep(&self, path: &Utf8Path, recorded: &Digest) -> io::Result<Digest> {
        let content = fs::read(path)?;
        let mut hasher = self.hasher_like(recorded)?;
        hasher.update(&content);
        let digest = hasher.finish()?;
        fs::write(self.kept(&digest), content)?;
        Ok(digest)
    }

    fn kept(&self, digest: &Digest) -> Utf8PathBuf {
        self.kept.join(&digest.0)
    }

    fn start(
        &self,
        _: Option<Duration>,
        start: &mut dyn FnMut() -> io::Result<u32>,
    ) -> io::Result<()> {
        let group = start()?;
        let mut groups = self.groups.lock().expect("no test thread panicked");
        groups.push(group);
        Ok(())
    }

    fn ended(&self, group: u32) {
        let mut groups = self.groups.lock().expect("no test thread panicked");
        let place = groups.iter().position(|other| *other == group);
        groups.remove(place.expect("what ends has started"));
    }

    fn take_terminal(&self) -> bool {
        true
    }

    fn give_terminal_back(&self) {}
}

/// Marks contents in a way that no plain digest is like.
struct BenchHasher(String, Box<dyn Hasher>);

impl BenchHasher {
    fn boxed(key: &str) -> Box<dyn Hasher> {
        let mut hasher = PlainHasher::boxed();
        hasher.update(key.as_bytes());
        Box::new(BenchHasher(key.to_owned(), hasher))
    }
}

impl Hasher for BenchHasher {
    fn update(&mut self, piece: &[u8]) {
        self.1.update(piece);
    }

    fn finish(self: Box<Self>) -> io::Result<Digest> {
        let digest = self.1.finish()?;
        Ok(Digest::keyed(&self.0, digest.0.as_bytes()))
    }
}

/// Fails a test whose step has started a group and never said that it was gone.
impl Drop for BenchHost {
    fn drop(&mut self) {
        let groups = self.groups.lock().expect("no test thread panicked");
        assert!(groups.is_empty() || std::thread::panicking(), "{groups:?}");
    }
}
