//! `daily-health` on this machine.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use serde_json::Value as Json;

use crate::harness::{
    Ended, Sandbox,
    http::Server,
    sqlite::{self, Other, Work},
    until,
};

/// Thresholds that no machine of ours reaches, so that a test sees only what it is about.
const CALM: [&str; 12] = [
    "disk_warning=100",
    "disk_critical=100",
    "inodes_warning=100",
    "inodes_critical=100",
    "memory_warning=0",
    "memory_critical=0",
    "swap_warning=101",
    "load_warning=10000",
    "load_critical=10000",
    "zombies_warning=100000",
    "runaway_age=3650d",
    "url_slow=1m",
];

fn health(sandbox: &Sandbox, sets: &[&str]) -> Ended {
    let mut arguments = vec!["run", "daily-health", "--output", "json"];
    for set in CALM
        .iter()
        .filter(|set| !set.starts_with("swap"))
        .chain(sets)
    {
        arguments.extend(["--set", set]);
    }
    sandbox.runwright(&arguments)
}

/// Returns the findings of that severity.
fn findings(ended: &Ended, severity: &str) -> Vec<String> {
    let summary = ended.summary();
    let findings = summary["findings"].as_array().expect("findings").iter();
    findings
        .filter(|finding| finding["severity"] == severity)
        .map(|finding| finding["title"].as_str().expect("a title").to_owned())
        .collect()
}

#[test]
fn without_any_configuration_it_says_how_the_machine_is() {
    let sandbox = Sandbox::new();
    let ended = sandbox.runwright(&["run", "daily-health", "--output", "json"]);
    // The machine that builds us may be short of something: that is an answer too.
    assert!([0, 10, 11].contains(&ended.code), "{ended:?}");
    let outputs = &ended.summary()["outputs"];
    for name in [
        "health",
        "fullest_disk",
        "memory_available",
        "load_per_core",
        "uptime",
        "zombies",
        "runaways",
    ] {
        assert!(!outputs[name].is_null(), "{name} in {outputs}");
    }
    let worst = match ended.code {
        0 => "good",
        10 => "warning",
        _ => "critical",
    };
    assert_eq!(outputs["health"], worst);
    sandbox.verified_journal();
}

#[test]
fn what_crosses_a_threshold_is_a_finding_of_that_severity() {
    let sandbox = Sandbox::new();
    let ended = health(&sandbox, &["disk_critical=0", "memory_warning=100"]).code(11);
    assert!(
        findings(&ended, "critical")
            .iter()
            .any(|title| title.contains("% full")),
        "{ended:?}"
    );
    assert!(
        findings(&ended, "warning")
            .iter()
            .any(|title| title.contains("of memory are available"))
    );
    // The later value wins; a warning alone has a code of its own, and `--fail-on` chooses which findings count.
    let ended = health(&sandbox, &["disk_warning=0"]).code(10);
    assert_eq!(findings(&ended, "critical"), Vec::<String>::new());
    let arguments = [
        "run",
        "daily-health",
        "--fail-on",
        "never",
        "--set",
        "disk_critical=0",
    ];
    sandbox.runwright(&arguments).code(0);
}

#[test]
fn urls_ports_and_databases_are_looked_at_and_all_of_them() {
    let sandbox = Sandbox::new();
    let server = Server::start();
    let database = sandbox.path("kv.db");
    sqlite::create(&database, 10);
    let (good, bad) = (server.url(200), server.url(503));
    let urls = format!("urls=[\"{bad}\", \"{good}\", \"http://127.0.0.1:1/\"]");
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("its address")
    };
    let ports = format!("ports=[\"{closed}\", \"{}\"]", server.address());
    let databases = format!(
        "databases=[\"{}\", \"{database}\"]",
        sandbox.path("missing.db")
    );
    let ended = health(&sandbox, &[&urls, &ports, &databases]).code(11);
    let critical = findings(&ended, "critical");
    assert!(
        critical
            .iter()
            .any(|title| title.contains("answers with status 503")),
        "{critical:#?}"
    );
    assert!(
        critical.iter().any(|title| title.contains("127.0.0.1:1")),
        "{critical:#?}"
    );
    assert!(
        critical
            .iter()
            .any(|title| title.contains(&format!("nobody answers at {closed}"))),
        "{critical:#?}"
    );
    assert!(
        critical
            .iter()
            .any(|title| title.contains("missing.db is no database: missing")),
        "{critical:#?}"
    );
    assert_eq!(critical.len(), 4, "and nothing else: {critical:#?}");
    assert_eq!(server.requests(), 2);
    assert!(!sandbox.path("missing.db").exists(), "a look makes no file");
}

#[test]
fn a_database_with_a_large_wal_or_a_damaged_one_is_told() {
    let sandbox = Sandbox::new();
    let (large, damaged) = (sandbox.path("large.db"), sandbox.path("damaged.db"));
    sqlite::create(&large, 10);
    Other::start(&large, Work::Write, 2_000).crash();
    sqlite::create(&damaged, 2_000);
    sqlite::break_table(&damaged);
    let databases = format!("databases=[\"{large}\", \"{damaged}\"]");
    let ended = health(&sandbox, &[&databases, "wal_warning=1MiB"]).code(11);
    assert!(
        findings(&ended, "critical")[0].contains("damaged.db is damaged"),
        "{ended:?}"
    );
    assert!(
        findings(&ended, "warning")[0].contains("the WAL of"),
        "{ended:?}"
    );
    assert!(
        sqlite::size(&sqlite::wal(&large)) > 1_000_000,
        "a look folds nothing in"
    );
}

#[test]
fn zombies_and_runaways_are_named() {
    struct Killed(Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    // A shell that turns into `sleep` never waits for the children that it started before and that outlive it.
    let script = "for i in 1 2 3; do sleep 1 & done; exec sleep 1000";
    let parent = Command::new("bash")
        .args(["-c", script])
        .stdin(Stdio::null())
        .spawn()
        .expect("bash starts");
    let parent = Killed(parent);
    let busy = Command::new("bash")
        .args(["-c", "while :; do :; done"])
        .spawn()
        .expect("bash starts");
    let busy = Killed(busy);
    let sandbox = Sandbox::new();
    let sets = ["zombies_warning=3", "runaway_age=1s", "runaway_cpu=10"];
    let runaway = format!("(process {}, ", busy.0.id());
    let mut warnings = Vec::new();
    until("both are found", || {
        warnings = findings(&health(&sandbox, &sets), "warning");
        // The names are those of the oldest ten, and the machine may have others.
        eprintln!("{warnings:?}");
        let named = |text: &str| warnings.iter().any(|title| title.contains(text));
        named(" zombies, left by ") && named(&runaway)
    });
    drop(parent);
    let ended = health(&sandbox, &["runaway_age=1s", "runaway_cpu=10"]);
    assert_ne!(
        ended.summary()["outputs"]["runaways"],
        Json::from(0),
        "{ended:?}"
    );
}

#[test]
fn values_of_a_profile_count_and_set_goes_over_them() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "books/profiles/site.yml",
        "daily-health:\n  disk_critical: 0\n",
    );
    let run = |more: &[&str]| {
        let mut arguments = vec![
            "run",
            "daily-health",
            "--playbooks",
            "books",
            "--profile",
            "site",
            "--output",
            "json",
        ];
        arguments.extend(more);
        sandbox.runwright(&arguments)
    };
    let full = |ended: &Ended| {
        findings(ended, "critical")
            .iter()
            .any(|title| title.contains("% full"))
    };
    assert!(full(&run(&[])));
    assert!(!full(&run(&["--set", "disk_critical=100"])));
    sandbox.write(
        "books/profiles/site.yml",
        "daily-health:\n  disk_critcal: 0\n",
    );
    run(&[])
        .code(2)
        .says("disk_critcal")
        .says("did you mean `disk_critical`");
}
