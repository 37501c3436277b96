//! Processes of this and of another user that take, meet, keep and lose locks.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    lock::Holder,
    testing::{Other, Sandbox, mode, other_at},
};

const ROOTS: &str = "aaaaaaaaaaaa";
const OTHERS: &str = "bbbbbbbbbbbb";
/// Starts a program as a user who owns nothing.
const AS_NOBODY: [&str; 4] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];
const AT: Time = Time {
    milliseconds: 1_700_000_000_000,
    offset: 0,
};

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn claim(run: &str, wanted: &[&str]) -> Claim {
    Claim {
        run: run.to_owned(),
        playbook: "restore".to_owned(),
        user: "alice".to_owned(),
        home: "/home/alice".into(),
        names: names(wanted),
    }
}

fn steal(lock: &str, from: Option<&str>, by: &str, reason: &str) -> Steal {
    Steal {
        lock: lock.to_owned(),
        from: from.map(str::to_owned),
        by: by.to_owned(),
        reason: reason.to_owned(),
        at: AT,
    }
}

/// A sandbox that other users can enter, and its locks.
fn sandbox() -> (Sandbox, Locks) {
    let sandbox = Sandbox::new();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(sandbox.path(""), open).expect("a mode");
    let locks = Locks::open(&sandbox.path("locks")).expect("a folder");
    (sandbox, locks)
}

fn file_of(sandbox: &Sandbox, name: &str) -> Utf8PathBuf {
    let digest = Digest::of(name.as_bytes()).0;
    sandbox.path("locks").join(digest)
}

fn files(sandbox: &Sandbox) -> Vec<String> {
    let entries = sandbox.path("locks").read_dir_utf8().expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").file_name().to_owned())
        .collect()
}

#[track_caller]
fn taken(result: Result<Held, LocksError>) -> Taken {
    match result {
        Err(LocksError::Taken(taken)) => *taken,
        other => panic!("it is not taken: {other:?}"),
    }
}

/// Waits until `holds`; fails after 30 s.
#[track_caller]
fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "it did not come true within 30 s"
        );
        thread::sleep(MOMENT);
    }
}

/// The other process of most tests: does the words of its argument in order, and then waits to be killed.
fn obey((folder, argument): (Utf8PathBuf, String)) -> ! {
    let locks = Locks::open(&folder).expect("a folder");
    let mut held = None;
    for word in argument.split(' ') {
        match word.split_once('=') {
            Some(("take", run)) => {
                held = Some(locks.take(&claim(run, &["db"]), AT).expect("it is free"));
            }
            Some(("meet", run)) => {
                let taken = taken(locks.take(&claim(OTHERS, &["db"]), AT));
                let owner = taken.owner.as_ref().expect("it is named");
                assert_eq!(owner.run, run, "{taken}");
                println!("\n{taken}");
            }
            Some(("steal", by)) => {
                locks
                    .steal(&steal("db", None, by, "lost"))
                    .expect("it is kept");
            }
            _ => match held.as_mut() {
                Some(held) => held.keep().expect("it can be kept"),
                None => panic!("{word} without a lock"),
            },
        }
    }
    println!("\ndone");
    loop {
        thread::park();
    }
}

fn start(wrapper: &[&str], test: &str, sandbox: &Sandbox, argument: &str) -> Other {
    let name = format!("locks::tests::{test}");
    let mut other = Other::start_in(wrapper, &name, &sandbox.path("locks"), argument);
    other.wait_for("done");
    other
}

#[test]
fn a_lock_is_one_runs_and_who_meets_it_is_told_whose() {
    if let Some(order) = other_at() {
        obey(order);
    }
    let (sandbox, locks) = sandbox();
    let test = "a_lock_is_one_runs_and_who_meets_it_is_told_whose";
    let mut holder = start(&[], test, &sandbox, "take=aaaaaaaaaaaa");

    let met = taken(locks.take(&claim(OTHERS, &["db"]), AT));
    assert_eq!(met.hold, Hold::Process(Holder::Pid(holder.pid())));
    assert_eq!(
        met.to_string(),
        format!(
            "run aaaaaaaaaaaa of `restore` by alice has it since 2023-11-14T22:13:20Z, pid {}",
            holder.pid()
        )
    );
    assert_eq!(locks.list().expect("a list"), [met]);

    holder.kill();
    assert_eq!(locks.list().expect("a list"), []);
    let held = locks.take(&claim(OTHERS, &["db"]), AT);
    held.expect("the kernel has freed it")
        .release()
        .expect("it is given back");
    assert_eq!(files(&sandbox), [""; 0], "nothing is left");
}

#[test]
fn what_a_killed_run_kept_is_its_own_and_nobody_elses_until_it_ends() {
    if let Some(order) = other_at() {
        obey(order);
    }
    let (sandbox, locks) = sandbox();
    let test = "what_a_killed_run_kept_is_its_own_and_nobody_elses_until_it_ends";
    let mut holder = start(&[], test, &sandbox, "take=aaaaaaaaaaaa keep");
    let met = taken(locks.take(&claim(OTHERS, &["db"]), AT));
    assert_eq!(met.hold, Hold::Process(Holder::Pid(holder.pid())));
    holder.kill();

    let later = Time::from_milliseconds(AT.milliseconds + 60_000);
    for _ in 0..2 {
        let met = taken(locks.take(&claim(OTHERS, &["db"]), later));
        assert_eq!(met.hold, Hold::Kept);
        assert_eq!(locks.list().expect("a list"), [met]);
    }
    let again = locks.take(&claim(ROOTS, &["db", "more"]), later);
    let again = again.expect("it is the run's own");
    assert!(again.is_kept());
    let met = taken(locks.take(&claim(OTHERS, &["db"]), later));
    let owner = met.owner.expect("it is named");
    assert_eq!(met.hold, Hold::Process(Holder::Pid(std::process::id())));
    assert_eq!(owner.since, AT.milliseconds, "since it had it first");

    drop(again);
    for name in ["db", "more"] {
        let met = taken(locks.take(&claim(OTHERS, &[name]), later));
        assert_eq!(met.hold, Hold::Kept, "a run that keeps one keeps all");
    }
    let again = locks.take(&claim(ROOTS, &["db", "more"]), later);
    again.expect("its own").release().expect("it ends");
    let free = locks.take(&claim(OTHERS, &["db", "more"]), later);
    drop(free.expect("it has ended"));
    assert_eq!(
        files(&sandbox),
        [""; 0],
        "dropped without `keep` nothing is left"
    );
}

#[test]
fn locks_are_taken_all_or_none() {
    let (sandbox, locks) = sandbox();
    let held = locks.take(&claim(ROOTS, &["b"]), AT).expect("it is free");
    let met = taken(locks.take(&claim(OTHERS, &["a", "b", "c"]), AT));
    assert_eq!(met.lock, "b");
    let mut other = locks
        .take(&claim(OTHERS, &["a", "c"]), AT)
        .expect("both were given back");
    other.add(&names(&["b"]), AT).expect_err("it is not free");
    assert_eq!(other.names().collect::<Vec<_>>(), ["a", "c"]);
    held.release().expect("it ends");
    other.keep().expect("it is kept");
    other.add(&names(&["a", "b"]), AT).expect("it is free now");
    drop(other);
    let kept = locks.list().expect("a list");
    let kept: Vec<_> = kept.iter().map(|it| (it.lock.as_str(), it.hold)).collect();
    assert_eq!(kept, ["a", "b", "c"].map(|name| (name, Hold::Kept)));
    assert_eq!(locks.forget(OTHERS).expect("it has ended"), ["a", "b", "c"]);
    assert_eq!(files(&sandbox), [""; 0]);
}

#[test]
fn many_processes_of_two_users_never_share_a_lock_and_never_stand_still() {
    const ROUNDS: u32 = 60;
    if let Some((folder, argument)) = other_at() {
        return hammer(&folder, &argument, ROUNDS);
    }
    let (sandbox, locks) = sandbox();
    fs::create_dir(sandbox.path("count")).expect("a folder");
    fs::set_permissions(sandbox.path("count"), fs::Permissions::from_mode(0o777)).expect("a mode");
    let name = "locks::tests::many_processes_of_two_users_never_share_a_lock_and_never_stand_still";
    let mut others: Vec<Other> = (0..6)
        .map(|number| {
            let wrapper: &[&str] = if number % 3 == 0 { &AS_NOBODY } else { &[] };
            let argument = format!("{number}");
            Other::start_in(wrapper, name, &sandbox.path("locks"), &argument)
        })
        .collect();
    for other in &mut others {
        other.wait_for("begun");
    }
    let count = sandbox.path("count/count");
    let all = ROUNDS * 6;
    until(|| {
        for taken in locks.list().expect("a list while they change") {
            assert_ne!(taken.hold, Hold::Kept);
        }
        fs::read_to_string(&count).is_ok_and(|text| text.parse() == Ok(all))
    });
    for other in others {
        other.join();
    }
    assert_eq!(locks.list().expect("a list"), []);
    let held = locks
        .take(&claim(ROOTS, &["a", "b"]), AT)
        .expect("all are free");
    held.release().expect("it ends");
    for file in files(&sandbox) {
        let path = sandbox.path("locks").join(file);
        assert_eq!(fs::metadata(&path).expect("a file").len(), 0, "{path}");
    }
}

/// Takes two locks in one of three orders, and fails when somebody else is inside; counts how often that went well.
fn hammer(folder: &Utf8Path, argument: &str, rounds: u32) {
    let locks = Locks::open(folder).expect("a folder");
    let number: usize = argument.parse().expect("a number");
    let count = folder.with_file_name("count").join("count");
    let inside = folder.with_file_name("count").join("inside");
    let run = format!("hammer{number:06}");
    println!("\nbegun");
    let mut done = 0;
    while done < rounds {
        let (first, second) = match number % 3 {
            0 => (names(&["a", "b"]), names(&[])),
            1 => (names(&["a"]), names(&["b"])),
            _ => (names(&["b"]), names(&["a"])),
        };
        let mut claim = claim(&run, &[]);
        claim.names = first;
        let held = locks.take(&claim, AT).and_then(|mut held| {
            held.add(&second, AT)?;
            Ok(held)
        });
        match held {
            Ok(held) => {
                let alone = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(&inside);
                drop(alone.expect("nobody else is inside"));
                let before = fs::read_to_string(&count).unwrap_or_else(|_| "0".to_owned());
                let before: u32 = before.parse().expect("a number");
                let next = count.with_file_name(format!("next-{number}"));
                fs::write(&next, (before + 1).to_string()).expect("a file");
                fs::rename(&next, &count).expect("the count");
                fs::remove_file(&inside).expect("it is ours");
                held.release().expect("it ends");
                done += 1;
            }
            Err(LocksError::Taken(_)) => {}
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
}

#[test]
fn a_kill_at_any_moment_leaves_what_was_kept_and_frees_what_was_not() {
    if let Some((folder, argument)) = other_at() {
        let locks = Locks::open(&folder).expect("a folder");
        let sure = folder.with_file_name("sure");
        println!("\nbegun");
        loop {
            let held = locks.take(&claim(&argument, &["a", "b"]), AT);
            let mut held = held.expect("it is ours alone");
            held.keep().expect("it is kept");
            File::create(&sure).expect("a file");
            fs::remove_file(&sure).expect("it is there");
            held.release().expect("it is released");
        }
    }
    let (sandbox, locks) = sandbox();
    let sure = sandbox.path("sure");
    let name = "locks::tests::a_kill_at_any_moment_leaves_what_was_kept_and_frees_what_was_not";
    let mut kept = 0;
    for round in 0_u64..40 {
        let mut other = Other::start(name, &sandbox.path("locks"), ROOTS);
        other.wait_for("begun");
        let moment = Instant::now() + Duration::from_micros(round * 137 % 3_000);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        other.kill();
        let was_sure = fs::remove_file(&sure).is_ok();
        match locks.take(&claim(OTHERS, &["a", "b"]), AT) {
            Ok(held) => {
                assert!(!was_sure, "round {round}: what was kept is free");
                held.release().expect("it ends");
            }
            Err(LocksError::Taken(taken)) => {
                kept += 1;
                assert_eq!(taken.hold, Hold::Kept, "round {round}: {taken}");
                assert_eq!(taken.owner.expect("it is named").run, ROOTS);
            }
            Err(error) => panic!("round {round}: {error}: {error:?}"),
        }
    }
    assert!(kept > 0, "no kill came while the locks were kept");
}

#[test]
fn another_user_takes_meets_and_names_the_locks_of_root_and_root_those_of_another_user() {
    if let Some(order) = other_at() {
        obey(order);
    }
    assert!(
        nix::unistd::Uid::effective().is_root(),
        "becoming another user needs root: run the tests with sudo"
    );
    let test =
        "another_user_takes_meets_and_names_the_locks_of_root_and_root_those_of_another_user";
    let (sandbox, locks) = sandbox();

    // Theirs first: the file is theirs, too.
    let mut theirs = start(&AS_NOBODY, test, &sandbox, "take=bbbbbbbbbbbb keep");
    let path = file_of(&sandbox, "db");
    let owner = fs::metadata(&path).expect("a file").uid();
    assert_eq!(owner, 65534);
    let met = taken(locks.take(&claim(ROOTS, &["db"]), AT));
    assert_eq!(met.hold, Hold::Process(Holder::Pid(theirs.pid())));
    theirs.kill();
    assert_eq!(
        taken(locks.take(&claim(ROOTS, &["db"]), AT)).hold,
        Hold::Kept
    );
    locks
        .steal(&steal("db", None, "root", "they are gone"))
        .expect("it is kept");

    // Ours, in their file.
    let mut held = locks
        .take(&claim(ROOTS, &["db"]), AT)
        .expect("it was stolen");
    assert_eq!(held.stolen()[0].by, "root");
    held.keep().expect("it is kept");
    start(&AS_NOBODY, test, &sandbox, "meet=aaaaaaaaaaaa").kill();
    drop(held);
    start(
        &AS_NOBODY,
        test,
        &sandbox,
        "meet=aaaaaaaaaaaa steal=nobody take=bbbbbbbbbbbb",
    )
    .kill();
    let held = locks
        .take(&claim(ROOTS, &["db"]), AT)
        .expect("they did not keep it");
    held.release().expect("it ends");
    assert_eq!(files(&sandbox), [""; 0]);

    // Theirs in our file, which they can't remove.
    let mut held = locks.take(&claim(ROOTS, &["db"]), AT).expect("it is free");
    held.keep().expect("it is kept");
    drop(held);
    assert_eq!(fs::metadata(&path).expect("a file").uid(), 0);
    let argument = "meet=aaaaaaaaaaaa steal=nobody take=bbbbbbbbbbbb keep";
    start(&AS_NOBODY, test, &sandbox, argument).kill();
    assert_eq!(fs::metadata(&path).expect("a file").uid(), 0);
    let met = taken(locks.take(&claim(ROOTS, &["db"]), AT));
    assert_eq!(met.owner.expect("it is named").run, OTHERS);
}

#[test]
fn folder_and_files_are_open_to_all_whatever_the_umask() {
    if let Some(order) = other_at() {
        obey(order);
    }
    let sandbox = Sandbox::new();
    let wrapper = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];
    let test = "folder_and_files_are_open_to_all_whatever_the_umask";
    let mut other = start(&wrapper, test, &sandbox, "take=aaaaaaaaaaaa keep");
    assert_eq!(mode(&sandbox.path("locks")), 0o1777);
    assert_eq!(mode(&file_of(&sandbox, "db")), 0o1666);
    other.kill();
    assert_eq!(mode(&file_of(&sandbox, "db")), 0o1666);
    let entries = fs::read_dir(sandbox.path("")).expect("a folder").count();
    assert_eq!(entries, 1, "nothing lies beside the folder");
}

#[test]
fn a_folder_that_is_none_or_not_safe_is_refused() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("target")).expect("a folder");
    symlink(sandbox.path("target"), sandbox.path("link")).expect("a link");
    symlink(sandbox.path("nowhere"), sandbox.path("broken")).expect("a link");
    fs::write(sandbox.path("file"), "").expect("a file");
    for name in ["link", "link/", "broken", "broken/", "file"] {
        for opened in [
            Locks::open(&sandbox.path(name)).map(drop),
            Locks::find(&sandbox.path(name)).map(drop),
        ] {
            let error = opened.expect_err("no folder");
            assert!(
                matches!(error, LocksError::NotAFolder { .. }),
                "{name}: {error}"
            );
        }
    }
    assert!(!sandbox.path("nowhere").exists());
    let unsafe_mode = fs::Permissions::from_mode(0o777);
    fs::set_permissions(sandbox.path("target"), unsafe_mode).expect("a mode");
    let error = Locks::open(&sandbox.path("target")).expect_err("all can remove files");
    assert!(
        error.hint().contains("chmod +t"),
        "{error}: {}",
        error.hint()
    );
    let none = Locks::find(&sandbox.path("none")).expect("no error");
    assert!(none.is_none() && !sandbox.path("none").exists());
}

#[test]
fn what_lies_in_the_place_of_a_file_is_neither_followed_nor_written_to_nor_waited_for() {
    let (sandbox, locks) = sandbox();
    let victim = sandbox.path("victim");
    fs::write(&victim, "theirs").expect("a file");
    let path = |name| file_of(&sandbox, name);
    symlink(&victim, path("link")).expect("a link");
    symlink(sandbox.path("nowhere"), path("broken")).expect("a link");
    fs::hard_link(&victim, path("second name")).expect("a link");
    fs::create_dir(path("folder")).expect("a folder");
    nix::unistd::mkfifo(path("pipe").as_std_path(), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).expect("a socket");
    for name in ["link", "broken", "second name", "folder", "pipe", "socket"] {
        let error = locks.take(&claim(ROOTS, &[name]), AT).expect_err("no file");
        assert!(
            matches!(error, LocksError::NotAFile { .. }),
            "{name}: {error}"
        );
        let error = locks
            .steal(&steal(name, None, "bob", "lost"))
            .expect_err("no file");
        assert!(
            matches!(error, LocksError::NotAFile { .. }),
            "{name}: {error}"
        );
    }
    assert_eq!(locks.list().expect("a list"), [], "they are no locks");
    assert_eq!(fs::read_to_string(&victim).expect("a file"), "theirs");
    assert!(!sandbox.path("nowhere").exists());
}

#[test]
fn a_torn_line_leaves_a_kept_lock_kept_and_foreign_content_is_not_believed() {
    let (sandbox, locks) = sandbox();
    let mut held = locks.take(&claim(ROOTS, &["db"]), AT).expect("it is free");
    held.keep().expect("it is kept");
    drop(held);
    let path = file_of(&sandbox, "db");
    let mut file = OpenOptions::new().append(true).open(&path).expect("a file");
    file.write_all(b"{\"v\":1,\"lock\":\"db\",\"own")
        .expect("a torn line");
    let met = taken(locks.take(&claim(OTHERS, &["db"]), AT));
    assert_eq!(met.hold, Hold::Kept);
    drop(locks.take(&claim(ROOTS, &["db"]), AT).expect("its own"));
    let listed = locks.list().expect("a list");
    assert_eq!(listed, [met], "the torn line is passed over");

    // The record of one lock in the file of another is none.
    fs::copy(&path, file_of(&sandbox, "copy")).expect("a copy");
    fs::write(file_of(&sandbox, "text"), "do not touch\n").expect("a file");
    fs::write(file_of(&sandbox, "bytes"), [0xff; 5000]).expect("a file");
    let large = File::create(file_of(&sandbox, "large")).expect("a file");
    large.set_len(1 << 40).expect("a hole");
    for name in ["copy", "text", "bytes", "large"] {
        let mut held = locks.take(&claim(OTHERS, &[name]), AT).expect("it is free");
        held.keep().expect("it is kept");
        drop(held);
        let met = taken(locks.take(&claim(ROOTS, &[name]), AT));
        assert_eq!(met.owner.expect("it is named").run, OTHERS, "{name}");
    }
    fs::write(sandbox.path("locks/README"), "{}").expect("a file");
    assert_eq!(locks.list().expect("a list").len(), 5);
}

#[test]
fn a_lock_of_a_newer_version_is_neither_taken_nor_stolen() {
    let (sandbox, locks) = sandbox();
    let text = "{\"v\":2,\"lock\":\"db\",\"owners\":[]}\n";
    fs::write(file_of(&sandbox, "db"), text).expect("a file");
    let taken = locks.take(&claim(ROOTS, &["db"]), AT).map(drop);
    let stolen = locks.steal(&steal("db", None, "bob", "lost")).map(drop);
    for result in [taken, stolen] {
        let error = result.expect_err("it may mean anything");
        assert!(
            matches!(error, LocksError::Newer { version: 2, .. }),
            "{error}"
        );
    }
    let kept = fs::read_to_string(file_of(&sandbox, "db")).expect("a file");
    assert_eq!(kept, text);
}

#[test]
fn a_name_is_any_text_that_is_not_empty_and_not_too_long() {
    let (_sandbox, locks) = sandbox();
    let wanted = ["../../etc/passwd", "a\nb\0c", "sqlite:/var/lib/kv.db", " "];
    let held = locks
        .take(&claim(ROOTS, &wanted), AT)
        .expect("they are free");
    let listed = locks.list().expect("a list");
    let listed: BTreeSet<&str> = listed.iter().map(|taken| taken.lock.as_str()).collect();
    assert_eq!(listed, held.names().collect());
    let error = locks
        .take(&claim(OTHERS, &["x", ""]), AT)
        .expect_err("it is empty");
    assert!(matches!(error, LocksError::NoName), "{error}");
    let longest = "\u{1}".repeat(4096);
    let error = locks.take(&claim(OTHERS, &[&format!("{longest}x")]), AT);
    let error = error.expect_err("it is too long");
    assert!(matches!(error, LocksError::LongName { .. }), "{error}");
    let mut held = locks
        .take(&claim(OTHERS, &[&longest]), AT)
        .expect("it is free");
    held.keep().expect("its record is short enough");
}

#[test]
fn a_theft_needs_a_kept_lock_without_a_process_and_is_told_until_it_is_written_down() {
    if let Some(order) = other_at() {
        obey(order);
    }
    let test = "a_theft_needs_a_kept_lock_without_a_process_and_is_told_until_it_is_written_down";
    let (sandbox, locks) = sandbox();
    let from_run = |from| locks.steal(&steal("db", from, "bob", "the disk is gone"));
    assert!(matches!(from_run(None), Err(LocksError::NotKept { .. })));
    assert_eq!(files(&sandbox), [""; 0]);

    let mut victim = start(&[], test, &sandbox, "take=aaaaaaaaaaaa keep");
    let error = from_run(None).expect_err("it is held");
    assert!(matches!(&error, LocksError::NotStolen(_)), "{error}");
    assert_eq!(
        error.hint(),
        "stop the run first: `runwright cancel aaaaaaaaaaaa`"
    );
    victim.kill();
    let error = from_run(Some(OTHERS)).expect_err("another run keeps it");
    assert!(matches!(&error, LocksError::NotStolen(_)), "{error}");
    let theft = from_run(Some(ROOTS)).expect("it is kept");
    assert_eq!((theft.by.as_str(), theft.from.run.as_str()), ("bob", ROOTS));
    assert!(
        matches!(from_run(None), Err(LocksError::NotKept { .. })),
        "it is free"
    );
    assert_eq!(locks.list().expect("a list"), []);

    // Neither one that is killed nor one that gives up before it changes anything has written it down.
    start(&[], test, &sandbox, "take=bbbbbbbbbbbb").kill();
    let mut held = locks.take(&claim(OTHERS, &["db"]), AT).expect("it is free");
    let told = held.stolen();
    assert_eq!(told.as_slice(), std::slice::from_ref(&theft));
    assert_eq!(held.stolen(), [], "once in a process");
    drop(held);
    assert_eq!(locks.list().expect("a list"), []);
    assert!(matches!(from_run(None), Err(LocksError::NotKept { .. })));

    // One that goes on to change something has.
    let mut held = locks.take(&claim(OTHERS, &["db"]), AT).expect("it is free");
    assert_eq!(held.stolen(), [theft]);
    held.keep().expect("it is kept");
    drop(held);
    let met = taken(locks.take(&claim(ROOTS, &["db"]), AT));
    assert_eq!(met.owner.expect("it is named").run, OTHERS);
    let mut held = locks.take(&claim(OTHERS, &["db"]), AT).expect("its own");
    assert_eq!(held.stolen(), []);
    held.release().expect("it ends");
    assert_eq!(files(&sandbox), [""; 0]);
}

#[test]
fn a_lock_that_is_added_to_a_kept_run_tells_of_its_theft_after_a_kill_as_well() {
    let (_sandbox, locks) = sandbox();
    let mut victim = locks.take(&claim(ROOTS, &["db"]), AT).expect("it is free");
    victim.keep().expect("it is kept");
    drop(victim);
    locks
        .steal(&steal("db", None, "bob", "lost"))
        .expect("it is kept");
    let mut held = locks
        .take(&claim(OTHERS, &["other"]), AT)
        .expect("it is free");
    held.keep().expect("it is kept");
    held.add(&names(&["db"]), AT).expect("it is free");
    drop(held);
    locks
        .steal(&steal("db", None, "carol", "lost again"))
        .expect("it is kept");
    let mut held = locks.take(&claim(ROOTS, &["db"]), AT).expect("it is free");
    let thefts = held.stolen();
    let thefts: Vec<_> = thefts
        .iter()
        .map(|it| (it.by.as_str(), it.from.run.as_str()))
        .collect();
    assert_eq!(thefts, [("bob", ROOTS), ("carol", OTHERS)]);
}

#[tokio::test]
async fn who_waits_is_told_once_who_has_the_lock_and_gets_it_when_it_is_free() {
    let (_sandbox, locks) = sandbox();
    let held = locks.take(&claim(ROOTS, &["db"]), AT).expect("it is free");
    let wanted = claim(OTHERS, &["a", "db"]);
    let mut told = Vec::new();

    let deadline = tokio::time::Instant::now() + 3 * POLL;
    let waited = locks.wait(
        &wanted,
        || AT,
        Some(deadline),
        |taken| told.push(taken.to_string()),
    );
    let met = taken(waited.await);
    assert!(tokio::time::Instant::now() >= deadline);
    assert_eq!(told, [met.to_string()]);

    let waiting = locks.wait(&wanted, || AT, None, |_| {});
    let cut_off = tokio::time::timeout(POLL, waiting).await;
    assert!(cut_off.is_err(), "it still waits");
    drop(
        locks
            .take(&claim(ROOTS, &["a"]), AT)
            .expect("nothing is held by who waited"),
    );

    let mut held = Some(held);
    let waiting = locks.wait(&wanted, || AT, None, |_| drop(held.take()));
    let got = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    let got = got.expect("in time").expect("it is free");
    assert_eq!(got.names().collect::<Vec<_>>(), ["a", "db"]);

    let past = Some(tokio::time::Instant::now());
    let mut is_told = false;
    let wanted = claim(ROOTS, &["db"]);
    let waited = locks.wait(&wanted, || AT, past, |_| is_told = true);
    assert_eq!(taken(waited.await).owner.expect("it is named").run, OTHERS);
    assert!(!is_told, "nobody waits");
}

#[tokio::test]
async fn who_waits_behind_a_second_run_is_told_of_that_too() {
    let (_sandbox, locks) = sandbox();
    let third = claim("cccccccccccc", &["db"]);
    let mut first = locks.take(&claim(ROOTS, &["db"]), AT).expect("it is free");
    first.keep().expect("it is kept");
    let (mut first, mut second) = (Some(first), None);
    let mut told = Vec::new();
    let waiting = locks.wait(
        &third,
        || AT,
        None,
        |taken| {
            told.push(taken.owner.as_ref().expect("it is named").run.clone());
            match first.take() {
                Some(first) => {
                    first.release().expect("it ends");
                    second = Some(locks.take(&claim(OTHERS, &["db"]), AT).expect("it is free"));
                }
                None => second = None,
            }
        },
    );
    let got = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    drop(got.expect("in time").expect("it is free"));
    assert_eq!(told, [ROOTS, OTHERS]);
}

#[test]
fn children_do_not_inherit_a_lock() {
    let (sandbox, locks) = sandbox();
    let held = locks.take(&claim(ROOTS, &["db"]), AT).expect("it is free");
    let mut child = Command::new("sleep")
        .arg("60")
        .spawn()
        .expect("sleep is everywhere");
    let folder = sandbox.path("locks");
    let inherited: Vec<_> = fs::read_dir(format!("/proc/{}/fd", child.id()))
        .expect("the child lives")
        .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
        .filter(|target| target.starts_with(&folder))
        .collect();
    drop(held);
    let free = locks.take(&claim(OTHERS, &["db"]), AT);
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    free.expect("the child does not hold it");
    assert!(inherited.is_empty(), "the child has {inherited:?} open");
}

#[test]
fn on_a_full_disk_a_lock_is_held_and_a_kept_one_taken_again_but_none_becomes_kept() {
    if let Some((folder, _)) = other_at() {
        return full_disk(&folder);
    }
    let sandbox = Sandbox::new();
    let folder = sandbox.path("locks");
    fs::create_dir(&folder).expect("a folder");
    let script = format!(
        "mount -t tmpfs -o size=64k,mode=1777 tmpfs {folder} || \
         {{ echo 'apt-get install -y --no-install-recommends mount; and run it as root' >&2; exit 1; }}; exec \"$@\""
    );
    let wrapper = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    let name = "locks::tests::on_a_full_disk_a_lock_is_held_and_a_kept_one_taken_again_but_none_becomes_kept";
    Other::start_in(&wrapper, name, &folder, "").join();
}

fn full_disk(folder: &Utf8Path) {
    let locks = Locks::open(folder).expect("a folder");
    let mut kept = locks
        .take(&claim(ROOTS, &["kept"]), AT)
        .expect("it is free");
    kept.keep().expect("it is kept");
    drop(kept);
    let mut named = locks
        .take(&claim(OTHERS, &["named"]), AT)
        .expect("it is free");
    let filler = folder.join("filler");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&filler)
        .expect("a file");
    while file.write_all(&[1; 512]).is_ok() {}

    drop(
        locks
            .take(&claim(ROOTS, &["kept"]), AT)
            .expect("it goes on"),
    );
    assert_eq!(
        taken(locks.take(&claim(OTHERS, &["kept"]), AT)).hold,
        Hold::Kept
    );
    named.keep().expect("there is room where its name stands");
    drop(named);

    let mut new = locks.take(&claim(ROOTS, &["new"]), AT).expect("it is held");
    let met = taken(locks.take(&claim(OTHERS, &["new"]), AT));
    assert_eq!(
        (met.hold, met.owner),
        (Hold::Process(Holder::Unknown), None)
    );
    let error = new.keep().expect_err("there is no room");
    assert!(
        error.hint().contains("free some space"),
        "{error}: {}",
        error.hint()
    );
    assert!(!new.is_kept());
    fs::remove_file(&filler).expect("room");
    drop(file);
    new.keep().expect("there is room");
    new.release().expect("it ends");
    let left: Vec<String> = locks
        .list()
        .expect("a list")
        .into_iter()
        .map(|taken| taken.lock)
        .collect();
    assert_eq!(left, ["kept", "named"]);
}
