//! The step kinds of Runwright: a folder a family, a file a kind. Each acts on the machine it runs on.
//!
//! [`kinds`] is the only list of them: schema, help, reference, completion and validation read it.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_macros))]

mod cancel;
mod files;
mod http;
mod network;
mod process;
mod services;
mod sqlite;
mod system;
#[cfg(test)]
mod testing;

use runwright_core::kind::Kind;

/// Returns every step kind, by family.
pub fn kinds() -> Vec<Kind> {
    [
        process::KINDS,
        files::KINDS,
        sqlite::KINDS,
        services::KINDS,
        system::KINDS,
        http::KINDS,
        network::KINDS,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use runwright_core::{
        diagnostic::{Source, line},
        language::{playbook_schema, read},
        schema::unknown_words,
        value::Value,
    };
    use serde_json::Value as Json;

    use super::*;

    fn said(text: &str) -> Vec<String> {
        let source = Source::new("p.yml", text);
        let (_, problems) = read(&source, None, &kinds());
        problems
            .iter()
            .map(|problem| line(problem, &source))
            .collect()
    }

    #[test]
    fn every_kind_says_nothing_that_is_not_checked_and_explains_every_argument() {
        for kind in kinds() {
            let arguments = Json::from(kind.arguments_schema());
            assert_eq!(
                unknown_words(&arguments),
                Vec::<String>::new(),
                "{}",
                kind.name
            );
            assert!(arguments["description"].is_string(), "{}", kind.name);
            for (name, argument) in arguments["properties"].as_object().into_iter().flatten() {
                assert!(
                    argument["description"].is_string(),
                    "`{name}` of {}",
                    kind.name
                );
            }
        }
        let schema = playbook_schema(&kinds()).to_string();
        assert!(!schema.contains("\"x-") && !schema.contains("unevaluatedProperties"));
    }

    #[test]
    fn what_is_not_known_yet_is_no_mistake() {
        for kind in kinds() {
            let arguments = Json::from(kind.arguments_schema());
            for (name, _) in arguments["properties"].as_object().into_iter().flatten() {
                let unknown = Value::Unknown("its template is worked out".into());
                let errors = (kind.check)(&Value::map([(name.clone(), unknown)].into()));
                let wrong = errors.iter().find(|error| error.path.first() == Some(name));
                assert_eq!(wrong, None, "`{name}` of {}", kind.name);
            }
        }
    }

    #[test]
    fn an_example_of_the_kinds_together_is_read() {
        let text = r#"
playbook: wal-recover
version: 1.0.0
title: Bring a SQLite database with an oversized or stuck WAL back to health
inputs:
  database:  { type: path, help: The database file }
  service:   { type: string, default: kvdb-mem, help: The service that owns it }
  wal_limit: { type: bytes, default: 100MiB }
guards:
  - file.stat: { path: "{{ database }}" }
    that: result.type == "file"
    else: "{{ database }} is no database file"
steps:
  - id: found
    title: Look at the database and its WAL
    sqlite.check: { database: "{{ database }}", depth: full }
  - id: checkpoint
    title: Fold the WAL back into the database
    when: found.integrity == "ok" and found.wal_bytes > wal_limit
    sqlite.checkpoint: { database: "{{ database }}", mode: truncate, busy_timeout: 5s }
  - id: repair
    title: Put a good copy in place
    when: found.integrity != "ok"
    group:
      - id: stop
        title: Stop {{ service }}
        service: { name: "{{ service }}", state: stopped }
      - id: swap
        confirm: { message: "Replace {{ database }}?", phrase: "{{ database | basename }}" }
        sqlite.replace: { database: "{{ database }}", with: "{{ database }}.{{ run.id }}" }
      - id: start
        service: { name: "{{ service }}", state: started }
      - id: names
        shell: { script: "docker ps --format '{{.Names}}'" }
        effect: read
      - id: told
        file.write:
          path: /tmp/state
          template: |
            {% for name in names %}{{ name }}{% endfor %}
          values: { names: ["{{ service }}"] }
      - id: asked
        http.request: { url: "http://localhost/{{ service }}" }
outputs:
  integrity: found.integrity
"#;
        assert_eq!(said(text), Vec::<String>::new());
    }
}
