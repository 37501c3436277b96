//! Secrets reach whatever they are for, and no sink.

mod digests;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use rexpect::session::{PtySession, spawn_command};

use crate::harness::{Ended, PROGRAM, Sandbox};

/// With what quoting and encodings trip over.
const TOKEN: &str = "s3cr\"et+v\u{e4}lue/42 ?&'x";
/// Of several lines.
const PEM: &str = "-----BEGIN A KEY-----\nMIIBVgIBADANBgkqhkiG9w0BAQEFAASC\nAUAwggE8AgEAAkEAq7BFUpkGp3LQmlQY\n-----END A KEY-----";
const KEY: &str = "K9#kd_73jsQ~zz";
/// What a program gives that is called sensitive.
const GIVEN: &str = "tok-8f3a9b77c1";
const LISTED: &str = "listed-item-5511";
const PASSWORD: &str = "pa/ss w0rd!";

/// A server that remembers every request and sends it back.
struct Echo {
    url: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Echo {
    fn start() -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = heard.clone();
        // Ends with the test program: it only waits.
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
                let (mut request, mut length) = (Vec::new(), 0);
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
                    request.extend_from_slice(line.as_bytes());
                    let lower = line.to_lowercase();
                    if let Some(text) = lower.strip_prefix("content-length:") {
                        length = text.trim().parse().unwrap_or(0);
                    }
                    if line == "\r\n" {
                        break;
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                if reader.read_exact(&mut body).is_err() {
                    continue;
                }
                request.extend_from_slice(&body);
                all.lock().expect("no panic").extend_from_slice(&request);
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-back: ok\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    request.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &request].concat());
            }
        });
        Echo { url, heard }
    }
}

const PLAYBOOK: &str = r#"playbook: spill
version: 1.0.0
title: Use secrets everywhere
inputs:
  token: { type: secret }
  pem: { type: secret }
  key: { type: secret }
  password: { type: secret }
  url: { type: string }
vars:
  alias: token
connections:
  api: "http://me:{{ password }}@127.0.0.1:1/db"
steps:
  - id: printed
    title: Print {{ token }}
    confirm: Really print {{ token }} to {{ api.host }}?
    shell:
      env: { T: "{{ token }}", P: "{{ pem }}", Q: "a{{ key }}b", A: "{{ alias }}" }
      script: |
        cat /proc/self/cmdline /proc/$PPID/cmdline >cmdline
        echo "T=$T" "Q=$Q" "A=$A"
        echo "$P"
        echo "$P" | tr '\n' '|'
        for before in "" x xx; do
          for text in "$T" "$P" "$Q"; do
            printf '%s%s' "$before" "$text" | base64 -w0; echo
            printf '%s%s' "$before" "$text" | base64 -w0 | tr '+/' '-_'; echo
            printf '%s%s' "$before" "$text" | od -An -v -tx1 | tr -d ' \n'; echo
            printf '%s%s' "$before" "$text" | od -An -v -tx1 | tr -d ' \n' | tr a-f A-F; echo
            printf '%s%s' "$before" "$text" | od -An -v -tx1 | tr -d '\n' | tr ' ' '%'; echo
          done
        done
        printf '%s' "$P" | base64
        printf '%s' "$P" | base64 -w 64
        for (( i = 0; i < 80; i++ )); do
          for text in "$T" "$Q"; do
            { head -c "$i" /dev/zero; printf '%s' "$text"; } | base64
            { head -c "$i" /dev/zero; printf '%s' "$text"; } | base64 -w 64 | sed 's/$/\r/'
          done
        done
        LC_ALL=C
        for (( i = 0; i < ${#T}; i++ )); do printf '%s' "${T:$i:1}"; printf '%s' "${T:$i:1}" >&2; done
        set -x
        : "$T"
    rollback: []
    expect:
      - that: result.exit == 1
        else: "{{ token }} and {{ result.stdout }} are not right"
        severity: warning
  - id: read
    command: { argv: [cat], stdin: "{{ token }}\n{{ pem }}\n{{ key }}" }
    rollback: []
  - id: sent
    http.request:
      url: "{{ url }}/echo?q={{ token }}&k={{ key }}"
      method: POST
      headers: { X-Token: "{{ key }}" }
      json: { token: "{{ token }}", deep: ["{{ pem }}"] }
    rollback: []
  - id: unreachable
    http.request: { url: "http://127.0.0.1:1/{{ token }}?{{ key }}", headers: { X: "{{ key }}" } }
    on_failure: continue
  - id: written
    file.write: { path: target/token, content: "{{ token }}\n", mode: "0600", parents: true }
  - id: again
    file.write: { path: target/token, template: "a={{ t }}\n", values: { t: "{{ token }}" } }
  - id: named
    set: { it: token, other: alias }
  - id: told
    notify: { to: terminal, message: "told {{ token }} {{ named.it }} {{ printed.stdout }}" }
    rollback: []
  - id: posted
    notify: { to: "{{ url }}/hook/{{ key }}", message: "posted {{ token }}" }
    rollback: []
  - id: found
    finding: { severity: warning, title: "found {{ token }}", advice: "see {{ key }}" }
  - id: called
    call: { playbook: inner, with: { token: "{{ token }}" } }
  - id: rounds
    foreach:
      in: [1, 2]
      as: round
      steps:
        - id: each
          shell: { env: { T: "{{ token }}" }, script: "echo \"$T\"" }
          rollback: []
  - id: login
    effect: read
    sensitive: true
    command: { argv: [cat, login], json: true }
  - id: by_field
    effect: read
    sensitive: [stdout]
    shell: { script: "cat given; cat given >&2" }
  - id: used
    shell:
      env: { T: "{{ login.json.token }}", L: "{{ login.json.list[0] }}", S: "{{ by_field.stdout }}" }
      script: "echo \"$T $L $S\" | tee target/used"
    rollback: []
  - id: bad_login
    effect: read
    sensitive: true
    shell: { script: "cat login; cat login >&2; exit 4" }
    on_failure: continue
  - id: failing
    shell:
      env: { T: "{{ token }}", P: "{{ password }}" }
      script: "echo \"$T $P\" >&2; exit 3"
    rollback: []
    on_failure: continue
outputs:
  alias: alias
  named: named.it
  printed: printed.stdout
  read: read.stdout
"#;

const INNER: &str = r#"playbook: inner
version: 1.0.0
title: Print a secret
inputs: { token: { type: secret } }
steps:
  - id: inside
    shell: { env: { T: "{{ token }}" }, script: "echo \"inside $T\"" }
    rollback: []
"#;

fn sandbox(url: &str) -> (Sandbox, Vec<String>) {
    let mut sandbox = Sandbox::new();
    sandbox.write("spill.yml", PLAYBOOK);
    sandbox.write("given", GIVEN);
    sandbox.write(
        "login",
        format!("{{\"token\": \"{GIVEN}\", \"list\": [\"{LISTED}\"]}}"),
    );
    sandbox.write("inner.yml", INNER);
    sandbox.set_env("THE_TOKEN", TOKEN);
    sandbox.set_env("THE_PASSWORD", PASSWORD);
    let pem = sandbox.write("pem", format!("{PEM}\n"));
    let key = sandbox.write("key", KEY);
    let sets = [
        "token=env:THE_TOKEN".to_owned(),
        format!("pem=file:{pem}"),
        format!("key=command:cat '{key}'"),
        "password=env:THE_PASSWORD".to_owned(),
        format!("url={url}"),
    ];
    let sets = sets.into_iter().flat_map(|set| ["--set".to_owned(), set]);
    (sandbox, sets.collect())
}

/// Returns every form of a secret that must be nowhere, by name.
fn needles() -> BTreeMap<String, String> {
    let mut needles = BTreeMap::new();
    for secret in [TOKEN, PEM, KEY, GIVEN, LISTED, PASSWORD] {
        let lines = secret.lines().filter(|line| line.len() >= 8);
        for part in lines.chain([secret]) {
            let hex: String = part.bytes().map(|byte| format!("{byte:02x}")).collect();
            let every: String = part.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let reserved: String = part
                .bytes()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        char::from(byte).to_string()
                    }
                    byte => format!("%{byte:02X}"),
                })
                .collect();
            let json = serde_json::to_string(part).expect("JSON");
            let mut forms = vec![
                ("itself", part.to_owned()),
                ("hex", hex.clone()),
                ("HEX", hex.to_uppercase()),
                ("url", reserved.clone()),
                ("url, lower", reserved.to_lowercase()),
                ("url, every byte", every.to_lowercase()),
                ("URL, every byte", every),
                ("json", json[1..json.len() - 1].to_owned()),
            ];
            for before in ["", "x", "xx"] {
                let encoded = base64(format!("{before}{part}").as_bytes());
                // Without the digits that hold something of what stands beside it.
                let encoded = &encoded[before.len() * 2..encoded.len() - 4];
                forms.push(("base64", encoded.to_owned()));
                forms.push(("base64url", encoded.replace('+', "-").replace('/', "_")));
            }
            for (name, form) in forms {
                needles.insert(format!("{part:?} as {name}: {form}"), form);
            }
        }
    }
    needles
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut bits = 0_u32;
        for at in 0..3 {
            bits = bits << 8 | u32::from(three.get(at).copied().unwrap_or(0));
        }
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { digit.into() } else { '=' });
        }
    }
    text
}

/// Fails where a sink holds a form of a secret; says all of them.
#[track_caller]
fn nothing_told(sinks: &BTreeMap<String, Vec<u8>>) {
    let needles = needles();
    let mut told = Vec::new();
    for (sink, content) in sinks {
        let content = String::from_utf8_lossy(content);
        // As lines, and with the line ends gone that programs put into base64 (also as JSON writes them).
        let joined = ["\\r", "\\n", "\r", "\n"]
            .into_iter()
            .fold(content.to_string(), |text, end| text.replace(end, ""));
        let found = needles
            .iter()
            .filter(|(_, form)| content.contains(*form) || joined.contains(*form));
        told.extend(found.map(|(name, _)| format!("{sink}: {name}")));
    }
    assert!(told.is_empty(), "told:\n{}", told.join("\n"));
}

fn on_terminal(sandbox: &Sandbox, arguments: &[&str]) -> PtySession {
    let mut command = sandbox.attached(PROGRAM);
    command.args(arguments).env("TERM", "xterm");
    spawn_command(command, Some(20_000)).expect("a program on a terminal")
}

#[test]
fn secrets_reach_their_targets_and_no_sink() {
    let echo = Echo::start();
    let (mut sandbox, sets) = sandbox(&echo.url);
    let mut sinks: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut run = |sandbox: &Sandbox, arguments: &[&str], with_sets: bool| -> Ended {
        let sets: Vec<&str> = match with_sets {
            true => sets.iter().map(String::as_str).collect(),
            false => Vec::new(),
        };
        let ended = sandbox.runwright(&[arguments, &sets].concat());
        let name = arguments.join(" ");
        sinks.insert(format!("stdout of {name}"), ended.stdout.clone().into());
        sinks.insert(format!("stderr of {name}"), ended.stderr.clone().into());
        ended
    };
    run(&sandbox, &["plan", "./spill.yml"], true).code(0);
    run(&sandbox, &["plan", "./spill.yml", "--output", "json"], true).code(0);
    sandbox.set_env("RUNWRIGHT_LOG", "trace");
    sandbox.set_env("RUST_LOG", "trace");
    let ended = run(&sandbox, &["run", "./spill.yml", "--yes"], true).code(11);
    assert!(ended.stderr.contains("***"), "{ended:?}");
    let json = ["run", "./spill.yml", "--yes", "--output", "json"];
    let ended = run(&sandbox, &json, true).code(11);
    assert_eq!(ended.summary()["outputs"]["alias"], "***");

    // They have arrived.
    let heard = echo.heard.lock().expect("no panic").clone();
    let heard = String::from_utf8(heard).expect("UTF-8");
    for part in [
        "X-Token: K9#kd_73jsQ~zz",
        "k=K9%23kd_73jsQ~zz",
        "/hook/K9%23kd_73jsQ~zz",
        r#"s3cr\"et+"#,
    ] {
        let (heard, part) = (heard.to_lowercase(), part.to_lowercase());
        assert!(heard.contains(&part), "{part} is not in {heard}");
    }
    let read =
        |sandbox: &Sandbox, name: &str| fs::read_to_string(sandbox.path(name)).expect("a file");
    assert_eq!(read(&sandbox, "target/token"), format!("a={TOKEN}\n"));
    assert_eq!(
        read(&sandbox, "target/used"),
        format!("{GIVEN} {LISTED} {GIVEN}\n")
    );

    for command in [
        &["show", "last"][..],
        &["show", "last", "--output", "json"],
        &["show", "last", "--inputs"],
        &["logs", "last"],
        &["history"],
        &["history", "--output", "json"],
    ] {
        run(&sandbox, command, false).code(0);
    }
    run(&sandbox, &["rollback", "last", "--yes"], false);
    sandbox.set_env("RUNWRIGHT_LOG", "off");
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    let tty = [
        &["run", "./spill.yml", "--yes", "--output", "tty"],
        &sets[..],
    ]
    .concat();
    let mut session = on_terminal(&sandbox, &tty);
    let shown = session.exp_eof().expect("its end");
    assert!(shown.contains("***"), "{shown}");
    sinks.insert("the terminal".to_owned(), shown.into_bytes());
    sinks.insert(
        "the children's command lines".to_owned(),
        read(&sandbox, "cmdline").into(),
    );
    for (path, (mode, content)) in sandbox.tree("state") {
        // What an undo needs is the old content of the target, as the target itself had it.
        if path.as_str().contains("/kept/") && content.is_empty() {
            continue;
        }
        if path.as_str().contains("/kept/") {
            assert_eq!(mode & 0o777, 0o600, "{path}");
            continue;
        }
        sinks.insert(path.into_string(), content);
    }
    nothing_told(&sinks);
}

#[test]
fn what_would_show_a_secret_or_let_it_decide_is_refused_with_its_place() {
    let cases = [
        (
            "command: { argv: [echo, \"{{ token }}\"] }",
            "shown by `ps`",
        ),
        ("command: { argv: \"{{ token }}\" }", "argv"),
        ("when: token == \"x\"\n    wait: 1s", "`when` can't name it"),
        (
            "unless: token == \"x\"\n    command: { argv: [a] }",
            "`unless` can't name it",
        ),
        (
            "command: { argv: [a] }\n    expect: [{ that: token == \"x\", else: no }]",
            "`that` can't name it",
        ),
        (
            "foreach: { in: token, as: it, steps: [{ id: b, wait: 1s }] }",
            "`in` can't name it",
        ),
        (
            "foreach: { in: [1], as: it, key: token, steps: [{ id: b, wait: 1s }] }",
            "`key` can't name it",
        ),
        (
            "choose: [{ when: token == \"x\", steps: [{ id: b, wait: 1s }] }]",
            "can't name it",
        ),
        (
            "effect: read\n    command: { argv: [a] }\n    until: token == \"x\"\n    every: 1s\n    within: 2s",
            "`until` can't name it",
        ),
        (
            "confirm: { message: sure?, phrase: \"{{ token }}\" }\n    wait: 1s",
            "`phrase` can't name it",
        ),
    ];
    for (step, why) in cases {
        let sandbox = Sandbox::new();
        sandbox.write(
            "refused.yml",
            format!(
                "playbook: refused\nversion: 1.0.0\ntitle: R\ninputs: {{ token: {{ type: secret }} }}\nsteps:\n  - id: a\n    {step}\n"
            ),
        );
        let ended = sandbox.runwright(&["check", "./refused.yml"]).code(2);
        let ended = ended.says(why);
        assert!(
            (ended.stdout + &ended.stderr).contains("refused.yml:7:") || step.contains("\n"),
            "{step}"
        );
    }
}

#[test]
fn a_secret_is_never_given_as_it_is_nor_too_short_nor_in_its_command() {
    let mut sandbox = Sandbox::new();
    sandbox.write("inner.yml", INNER);
    sandbox.set_env("SHORT", "abc");
    for (set, why) in [
        ("token=hunter2-as-it-is", "never as it is"),
        ("token=env:SHORT", "shorter than 4 characters"),
        ("token=env:NOWHERE", "`NOWHERE` is not set"),
        ("token=file:/nowhere", "`/nowhere` can't be read"),
        (
            "token=command:printf hunter2-as-it-is",
            "the command itself holds the secret",
        ),
        ("token=command:echo hunter2-as-it-is; exit 3", "ended with"),
    ] {
        let ended = sandbox
            .runwright(&["run", "./inner.yml", "--set", set])
            .code(2);
        let ended = ended.says(why);
        assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
        assert!(!sandbox.path("state/journal.db").exists());
    }
    sandbox.set_env("RUNWRIGHT_INPUT_TOKEN", "hunter2-as-it-is");
    let ended = sandbox.runwright(&["run", "./inner.yml"]).code(2);
    let ended = ended.says("never as it is");
    assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
}

#[test]
fn a_secret_that_is_typed_is_not_shown_and_is_asked_for_again_on_resume() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "typed.yml",
        r#"playbook: typed
version: 1.0.0
title: Ask for a secret
inputs: { token: { type: secret }, other: { type: secret } }
on_failure: stop
steps:
  - id: first
    shell: { env: { T: "{{ token }}" }, script: "echo \"$T\" >got" }
    rollback: []
  - id: second
    shell: { env: { T: "{{ token }}" }, script: "test -e go-on; echo \"$T\" >>got" }
    rollback: []
"#,
    );
    let typed = |arguments: &[&str]| {
        let mut session = on_terminal(&sandbox, arguments);
        let mut shown = String::new();
        for name in ["token", "other"] {
            shown += &session
                .exp_string(&format!("{name} (not shown)"))
                .expect("a question");
            session.send_line(KEY).expect("an answer");
        }
        shown + &session.exp_eof().expect("its end")
    };
    let first = typed(&["run", "./typed.yml", "--yes"]);
    let got = || fs::read_to_string(sandbox.path("got")).expect("a file");
    assert_eq!(got(), format!("{KEY}\n"));
    // Without a terminal nobody can give it: all are named, and the run stays as it was.
    let before = sandbox.tree("state/runs");
    let ended = sandbox.runwright(&["resume", "last", "--yes"]).code(3);
    ended.says("secret `token`").says("secret `other`");
    assert_eq!(sandbox.tree("state/runs"), before);
    sandbox.runwright(&["history"]).says("stopped");
    sandbox.write("go-on", "");
    let second = typed(&["resume", "last", "--yes"]);
    assert_eq!(got(), format!("{KEY}\n{KEY}\n"));
    let mut sinks = BTreeMap::from([
        ("the first terminal".to_owned(), first.into_bytes()),
        ("the second terminal".to_owned(), second.into_bytes()),
    ]);
    let files = sandbox.tree("state").into_iter();
    sinks.extend(files.map(|(path, (_, content))| (path.into_string(), content)));
    nothing_told(&sinks);
}

#[test]
fn secrets_whose_source_is_gone_are_all_named_on_resume_and_nothing_acts() {
    let mut sandbox = Sandbox::new();
    sandbox.write(
        "gone.yml",
        r#"playbook: gone
version: 1.0.0
title: Lose the sources
inputs: { token: { type: secret }, key: { type: secret } }
on_failure: stop
steps:
  - id: only
    shell: { env: { T: "{{ token }}", K: "{{ key }}" }, script: "echo x >>tried; test -e go-on" }
    rollback: []
"#,
    );
    sandbox.set_env("THE_TOKEN", TOKEN);
    let key = sandbox.write("key", KEY);
    let set = format!("key=file:{key}");
    let run = [
        "run",
        "./gone.yml",
        "--yes",
        "--set",
        "token=env:THE_TOKEN",
        "--set",
        &set,
    ];
    sandbox.runwright(&run).code(1);
    sandbox.write("go-on", "");
    fs::remove_file(&key).expect("it was there");
    sandbox.set_env("THE_TOKEN", "");
    let ended = sandbox.runwright(&["resume", "last", "--yes"]).code(3);
    ended.says("secret `token`").says("secret `key`");
    assert_eq!(
        fs::read_to_string(sandbox.path("tried")).expect("a file"),
        "x\n"
    );
    sandbox.set_env("THE_TOKEN", TOKEN);
    sandbox.write("key", KEY);
    sandbox.runwright(&["resume", "last", "--yes"]).code(0);
}

/// A playbook in which a secret result is needed after a stop.
fn login(effect: &str) -> String {
    format!(
        r#"playbook: login
version: 1.0.0
title: Use a secret result after a stop
on_failure: stop
steps:
  - id: login
    effect: {effect}
    sensitive: [stdout]
    shell: {{ script: "echo x >>logins; cat given" }}{}
  - id: between
    effect: read
    command: {{ argv: [test, -e, go-on] }}
  - id: used
    shell: {{ env: {{ T: "{{{{ login.stdout }}}}" }}, script: "echo \"$T\" >used" }}
    rollback: []
"#,
        if effect == "read" {
            ""
        } else {
            "\n    rollback: []"
        }
    )
}

#[test]
fn a_secret_result_that_is_only_read_is_read_again_on_resume() {
    let sandbox = Sandbox::new();
    sandbox.write("given", GIVEN);
    sandbox.write("login.yml", login("read"));
    sandbox.runwright(&["run", "./login.yml", "--yes"]).code(1);
    sandbox.write("go-on", "");
    let ended = sandbox.runwright(&["resume", "last", "--yes"]).code(0);
    let read = |name: &str| fs::read_to_string(sandbox.path(name)).expect("a file");
    assert_eq!(read("used"), format!("{GIVEN}\n"));
    assert_eq!(read("logins"), "x\nx\n");
    let mut sinks = BTreeMap::from([("stderr".to_owned(), ended.stderr.into_bytes())]);
    let files = sandbox.tree("state").into_iter();
    sinks.extend(files.map(|(path, (_, content))| (path.into_string(), content)));
    nothing_told(&sinks);
}

#[test]
fn a_secret_result_that_only_acting_could_give_again_stops_the_run() {
    let sandbox = Sandbox::new();
    sandbox.write("given", GIVEN);
    sandbox.write("login.yml", login("change"));
    sandbox.runwright(&["run", "./login.yml", "--yes"]).code(1);
    sandbox.write("go-on", "");
    for _ in 0..2 {
        sandbox
            .runwright(&["resume", "last", "--yes"])
            .code(6)
            .says("login.stdout")
            .says("went with the process that had it");
    }
    assert!(!sandbox.path("used").exists());
    let logins = fs::read_to_string(sandbox.path("logins")).expect("a file");
    assert_eq!(logins, "x\n", "what changes something is not done again");
    sandbox.runwright(&["rollback", "last", "--yes"]).code(0);
}
