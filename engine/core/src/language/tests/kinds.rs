//! Kinds that do nothing: as many as the rules of the language need.
#![expect(dead_code, reason = "the arguments are there for their schema")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch, Undo, UndoLook},
    units::{Bytes, Mode, Span},
    value::{ArgumentError, Value},
};

pub(super) const KINDS: [Kind; 10] = [
    Kind::of::<Stat>("file.stat"),
    Kind::of::<Write>("file.write"),
    Kind::of::<Delete>("file.delete"),
    Kind::of::<Check>("sqlite.check"),
    Kind::of::<Checkpoint>("sqlite.checkpoint"),
    Kind::of::<Replace>("sqlite.replace"),
    Kind::of::<Service>("service"),
    Kind::of::<Command>("command"),
    Kind::of::<Shell>("shell"),
    Kind::of::<Request>("http.request"),
];

/// Gives a struct of arguments what every kind needs and none of these tests asks for.
macro_rules! kind {
    ($name:ident -> $output:ty, $undo:ty, $effect:ident $(, $method:item)*) => {
        impl Step for $name {
            type Output = $output;
            type Before = ();
            type Undo = $undo;
            const EFFECT: Effect = Effect::$effect;
            $($method)*

            fn touches(&self) -> Vec<Touch> {
                Vec::new()
            }

            fn describe(&self) -> Description {
                Description::new(format!("{self:?}"))
            }

            async fn look(&self, _: &Cx) -> Result<Look<$output, ()>, Failure> {
                Ok(Look::Unclear)
            }

            fn undo(&self, _: &()) -> Option<$undo> {
                None
            }

            async fn perform(&self, _: &Cx, _: Option<&()>) -> Result<$output, Failure> {
                Err(Failure::internal("perform what is only there for its shape"))
            }
        }
    };
}

#[derive(Debug, Serialize, Deserialize)]
struct PutBack {
    // An undo without data would count as none.
    of: String,
}

impl Undo for PutBack {
    fn describe(&self) -> String {
        format!("put {} back", self.of)
    }

    async fn look(&self, _: &Cx) -> Result<UndoLook, Failure> {
        Ok(UndoLook::Done)
    }

    async fn perform(&self, _: &Cx) -> Result<(), Failure> {
        Ok(())
    }
}

/// Nothing but what every result has.
#[derive(Serialize, JsonSchema)]
struct Nothing {}

/// Tells what a file is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Stat {
    /// The file.
    path: String,
}

#[derive(Serialize, JsonSchema)]
struct Stated {
    exists: bool,
    r#type: String,
    size: Bytes,
}

kind!(Stat -> Stated, NoUndo, Read);

/// Writes a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Write {
    /// The file.
    path: String,
    /// The content.
    content: Option<String>,
    /// The text of a whole template.
    #[schemars(extend("x-literal" = true))]
    template: Option<String>,
    /// What the template sees.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    values: BTreeMap<String, Value>,
    /// The mode.
    #[schemars(with = "Option<Mode>")]
    mode: Option<Mode>,
}

kind!(
    Write -> Nothing, PutBack, Change,
    fn check(arguments: &Value) -> Vec<ArgumentError> {
        match (arguments.get("content"), arguments.get("template")) {
            (Some(_), Some(_)) => vec![ArgumentError {
                path: vec!["template".to_owned()],
                message: "`content` and `template` exclude each other".to_owned(),
            }],
            _ => Vec::new(),
        }
    }
);

/// Deletes a file; kept for a while it can be put back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Delete {
    /// The file.
    path: String,
    /// For how long it is kept.
    #[serde(default)]
    keep: Span,
}

fn is_kept(arguments: &Value) -> bool {
    arguments.get("keep").is_some()
}

kind!(
    Delete -> Nothing, PutBack, Destroy,
    fn effect(arguments: &Value) -> Effect {
        if is_kept(arguments) { Effect::Change } else { Effect::Destroy }
    },
    fn undoes(arguments: &Value) -> bool {
        is_kept(arguments)
    }
);

/// Looks at a database.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Check {
    /// The database.
    database: String,
    /// How deep.
    depth: Option<Depth>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Depth {
    Quick,
    Full,
}

#[derive(Serialize, JsonSchema)]
struct Checked {
    integrity: String,
    wal_bytes: Bytes,
}

kind!(Check -> Checked, NoUndo, Read);

/// Folds the WAL back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    /// The database.
    database: String,
    /// How.
    mode: String,
    /// How long to wait for others.
    #[serde(default)]
    busy_timeout: Span,
}

kind!(Checkpoint -> Nothing, PutBack, Change);

/// Puts a database in another one's place.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Replace {
    /// The database.
    database: String,
    /// The one to put in its place.
    with: String,
}

kind!(Replace -> Nothing, PutBack, Change);

/// Starts or stops a service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Service {
    /// Its name.
    name: String,
    /// What it shall be.
    state: String,
}

kind!(Service -> Nothing, PutBack, Change);

/// Runs a program.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Command {
    /// The program and its arguments.
    #[schemars(length(min = 1))]
    argv: Vec<String>,
    /// The environment.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// What it reads.
    stdin: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Ran {
    exit: i32,
    stdout: String,
    json: serde_json::Value,
}

kind!(Command -> Ran, NoUndo, Change);

/// Runs a script.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Shell {
    /// The script.
    #[schemars(extend("x-literal" = true))]
    script: String,
    /// The environment.
    #[serde(default)]
    env: BTreeMap<String, String>,
}

kind!(Shell -> Ran, NoUndo, Change);

/// Sends a request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The URL.
    #[schemars(extend("x-url" = true))]
    url: String,
    /// The method.
    method: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Response {
    status: u16,
    json: serde_json::Value,
}

kind!(
    Request -> Response, NoUndo, Change,
    fn effect(arguments: &Value) -> Effect {
        match arguments.get("method") {
            None => Effect::Read,
            Some(method) if method.as_str() == Some("GET") => Effect::Read,
            Some(_) => Effect::Change,
        }
    }
);
