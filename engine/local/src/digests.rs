//! How contents are marked where the mark could be used to try guesses at a secret.
//!
//! Whoever reads the journal could hash a guess and compare. So a digest is keyed where the arguments or the results of
//! its step hold a secret, or the content itself does: it is an HMAC-SHA-256 with a random key that lies in the run's
//! folder and never in the journal. What compares makes the form of what was recorded. A run that undoes another, or
//! goes on from it, takes over its key, so that their digests can be compared; a preview has one that it forgets.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use hmac::{Hmac, KeyInit, Mac};
use runwright_core::{
    kind::{Digest, Hasher, PlainHasher, hex},
    machine::Task,
    plan::Sensitive,
    value::Value,
};
use sha2::{Digest as _, Sha256};

use crate::{
    folder::{KEY, RunFolder},
    run::{Scan, Vault},
};

/// How the digests of one step are made.
#[derive(Clone, Debug)]
pub(crate) struct Digests {
    vault: Arc<Vault>,
    keys: Arc<Keys>,
    marks: Marks,
}

/// Which digests of a step are keyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marks {
    /// All.
    Keyed,
    /// Those of contents in which a secret stands.
    KeyedWhereFound,
}

impl Marks {
    /// Returns those of a step that does `task`.
    pub(crate) fn of(task: &Task) -> Marks {
        let is_secret = |value: &Value| matches!(value, Value::Secret(_));
        match task.sensitive == Sensitive::No && task.arguments.find(&is_secret).is_none() {
            true => Marks::KeyedWhereFound,
            false => Marks::Keyed,
        }
    }
}

impl Digests {
    pub(crate) fn new(vault: Arc<Vault>, keys: Arc<Keys>, marks: Marks) -> Digests {
        Digests { vault, keys, marks }
    }

    /// Returns the same for a step with other contents.
    pub(crate) fn with(&self, marks: Marks) -> Digests {
        Digests {
            marks,
            ..self.clone()
        }
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Does what [`runwright_core::kind::Host::hasher`] says.
    pub(crate) fn hasher(&self) -> Box<dyn Hasher> {
        let keying = match self.marks {
            Marks::Keyed => Keying::Always(self.keys.clone()),
            Marks::KeyedWhereFound => match self.vault.scan() {
                Some(scan) => Keying::Found(scan, self.keys.clone()),
                None => return PlainHasher::boxed(),
            },
        };
        Box::new(KeyedHasher {
            hasher: Sha256::new(),
            keying,
        })
    }

    /// Does what [`runwright_core::kind::Host::hasher_like`] says.
    pub(crate) fn hasher_like(&self, recorded: &Digest) -> io::Result<Box<dyn Hasher>> {
        self.keys.hasher_like(recorded)
    }
}

/// The keys that a run can use.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Where its own lies, and those of the runs that it undoes or goes on from; none: it lies nowhere.
    folders: Vec<RunFolder>,
    own: Mutex<Option<Key>>,
}

impl Keys {
    /// Returns those in the folder of a run, and in the folders of the runs before it, the nearest first.
    pub(crate) fn of(folder: &RunFolder, earlier: &[RunFolder]) -> Keys {
        Keys {
            folders: [std::slice::from_ref(folder), earlier].concat(),
            own: Mutex::default(),
        }
    }

    /// Returns one that goes with this process.
    pub(crate) fn passing() -> Keys {
        Keys {
            folders: Vec::new(),
            own: Mutex::default(),
        }
    }

    /// Begins a digest that can be compared with `recorded`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] when its key is gone.
    pub(crate) fn hasher_like(&self, recorded: &Digest) -> io::Result<Box<dyn Hasher>> {
        match recorded.key() {
            None => Ok(PlainHasher::boxed()),
            Some(name) => Ok(Box::new(KeyedHasher {
                hasher: Sha256::new(),
                keying: Keying::With(self.named(name)?),
            })),
        }
    }

    /// Returns the run's own key: made, and on the disk, when it is first needed.
    fn own(&self) -> io::Result<Key> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*own {
            return Ok(key.clone());
        }
        let mut found = None;
        for (place, folder) in self.folders.iter().enumerate() {
            if let Some(bytes) = folder.key()? {
                found = Some((place, Key(bytes)));
                break;
            }
        }
        let (is_there, key) = match found {
            Some((place, key)) => (place == 0, key),
            None => (false, Key::random()?),
        };
        if !is_there && let Some(folder) = self.folders.first() {
            folder.keep_key(&key.0)?;
        }
        *own = Some(key.clone());
        Ok(key)
    }

    fn named(&self, name: &str) -> io::Result<Key> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = own.as_ref().filter(|key| key.name() == name) {
            return Ok(key.clone());
        }
        for folder in &self.folders {
            if let Some(key) = folder.key()?.map(Key)
                && key.name() == name
            {
                return Ok(key);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("the key `{name}` of the digests is gone with the folder of its run"),
        ))
    }
}

/// A key of digests.
#[derive(Clone, PartialEq, Eq)]
struct Key([u8; KEY]);

impl Key {
    fn random() -> io::Result<Key> {
        let mut bytes = [0; KEY];
        let mut filled = 0;
        while filled < bytes.len() {
            let flags = rustix::rand::GetRandomFlags::empty();
            match rustix::rand::getrandom(&mut bytes[filled..], flags) {
                Ok(more) => filled += more,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Key(bytes))
    }

    /// Returns what tells it from other keys, and nothing more.
    fn name(&self) -> String {
        hex(&self.mark(b"the name of this key")[..8])
    }

    fn mark(&self, text: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(text);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Makes a digest that may have to be keyed: of the content's SHA-256, so that it is known at the end.
struct KeyedHasher {
    hasher: Sha256,
    keying: Keying,
}

enum Keying {
    /// With the run's own key.
    Always(Arc<Keys>),
    /// With it where a secret is found.
    Found(Scan, Arc<Keys>),
    /// With this one.
    With(Key),
}

impl Hasher for KeyedHasher {
    fn update(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
        if let Keying::Found(scan, _) = &mut self.keying {
            scan.push(piece);
        }
    }

    fn finish(self: Box<Self>) -> io::Result<Digest> {
        let KeyedHasher { hasher, keying } = *self;
        let content = hasher.finalize();
        let key = match keying {
            Keying::Found(scan, _) if !scan.found() => return Ok(Digest(hex(&content))),
            Keying::Always(keys) | Keying::Found(_, keys) => keys.own()?,
            Keying::With(key) => key,
        };
        Ok(Digest::keyed(&key.name(), &key.mark(&content)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sandbox;

    const RUN: &str = "abc123def456";
    const LATER: &str = "abc123def457";

    fn folder(sandbox: &Sandbox, run: &str) -> RunFolder {
        RunFolder::create(&sandbox.home(), run).expect("a folder")
    }

    fn digests(keys: Keys, marks: Marks) -> Digests {
        let vault = Vault::default();
        vault.keep("token", "hunter2-and-more".to_owned());
        Digests::new(Arc::new(vault), Arc::new(keys), marks)
    }

    fn of(mut hasher: Box<dyn Hasher>, pieces: &[&str]) -> Digest {
        for piece in pieces {
            hasher.update(piece.as_bytes());
        }
        hasher.finish().expect("a key")
    }

    #[test]
    fn what_holds_a_secret_is_keyed_wherever_the_pieces_end_and_nothing_else_is() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox, RUN);
        let digests = digests(Keys::of(&folder, &[]), Marks::KeyedWhereFound);
        let plain = of(digests.hasher(), &["no secret"]);
        assert_eq!(plain, Digest::of(b"no secret"));
        assert_eq!(folder.key().expect("read"), None, "none was needed");
        let text = "T=hunter2-and-more\n";
        let whole = of(digests.hasher(), &[text]);
        assert!(whole.key().is_some(), "{whole:?}");
        for cut in 0..text.len() {
            let pieces = [&text[..cut], &text[cut..]];
            assert_eq!(of(digests.hasher(), &pieces), whole, "cut at {cut}");
        }
        let bytes: Vec<&str> = text.split_inclusive(|_| true).collect();
        assert_eq!(of(digests.hasher(), &bytes), whole);
        assert!(!whole.0.contains(&Digest::of(text.as_bytes()).0));
        let always = digests.with(Marks::Keyed);
        assert!(of(always.hasher(), &["no secret"]).key().is_some());
    }

    #[test]
    fn what_compares_makes_the_form_that_was_recorded() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox, RUN);
        let keyed = digests(Keys::of(&folder, &[]), Marks::Keyed);
        let recorded = of(keyed.hasher(), &["one"]);
        // As another process does it, whose step has no secret.
        let again = digests(Keys::of(&folder, &[]), Marks::KeyedWhereFound);
        let like = |recorded, text| of(again.hasher_like(recorded).expect("a key"), &[text]);
        assert_eq!(like(&recorded, "one"), recorded);
        assert_ne!(like(&recorded, "two"), recorded);
        let plain = Digest::of(b"hunter2-and-more");
        assert_eq!(like(&plain, "hunter2-and-more"), plain);
    }

    #[test]
    fn a_later_run_finds_the_key_of_the_earlier_one_and_takes_it_over() {
        let sandbox = Sandbox::new();
        let (first, later) = (folder(&sandbox, RUN), folder(&sandbox, LATER));
        let recorded = of(
            digests(Keys::of(&first, &[]), Marks::Keyed).hasher(),
            &["one"],
        );
        let undoing = digests(Keys::of(&later, std::slice::from_ref(&first)), Marks::Keyed);
        let like = undoing.hasher_like(&recorded).expect("the earlier key");
        assert_eq!(of(like, &["one"]), recorded);
        assert_eq!(of(undoing.hasher(), &["one"]), recorded);
        assert_eq!(first.key().expect("read"), later.key().expect("read"));
        let alone = Keys::of(&folder(&sandbox, "abc123def458"), &[]);
        let error = alone.hasher_like(&recorded).err().expect("no such key");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_passing_key_holds_for_one_process_and_lies_nowhere() {
        let (one, other) = (Keys::passing(), Keys::passing());
        let (one, other) = (digests(one, Marks::Keyed), digests(other, Marks::Keyed));
        let recorded = of(one.hasher(), &["one"]);
        assert_eq!(of(one.hasher(), &["one"]), recorded);
        assert_ne!(of(other.hasher(), &["one"]), recorded);
    }

    #[test]
    fn threads_that_need_the_first_key_at_once_get_the_same() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox, RUN);
        let digests = digests(Keys::of(&folder, &[]), Marks::Keyed);
        let made: Vec<Digest> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| of(digests.hasher(), &["one"])))
                .collect();
            let threads = threads.into_iter();
            threads.map(|it| it.join().expect("no panic")).collect()
        });
        assert!(made.iter().all(|digest| *digest == made[0]), "{made:?}");
    }
}
