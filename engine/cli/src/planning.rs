//! From a name on the command line to a plan; every problem on the way is shown with its place.

use std::{collections::BTreeMap, sync::Arc};

use runwright_core::{
    diagnostic::{Colour, Diagnostic, Source, render},
    language::{self, CallSite, Playbook},
    plan::Plan,
};
use runwright_local::folder::RunFolder;

use crate::{
    error::CliError,
    library::{Library, Loaded},
};

/// Returns the plan of the playbook that `name` means, with everything that it calls.
pub(crate) fn plan(library: &Library, name: &str, colour: Colour) -> Result<Arc<Plan>, CliError> {
    let loaded = library.find(name)?;
    let root = checked(&loaded, colour)?;
    link(&root, loaded, colour, &mut |caller, call| {
        let loaded = library.find_called(caller, call)?;
        let playbook = checked(&loaded, colour)?;
        Ok((playbook, loaded))
    })
}

/// Returns the plan of a run as it was begun: from the texts that lie in its folder.
pub(crate) fn pinned(
    library: &Library,
    folder: &RunFolder,
    begun: &runwright_core::event::Begun,
    colour: Colour,
) -> Result<Arc<Plan>, CliError> {
    let mut texts: BTreeMap<&str, Loaded> = BTreeMap::new();
    for (name, digest) in &begun.texts {
        let plain = name.split('@').next().unwrap_or(name);
        let path = if plain == begun.playbook {
            begun.path.clone()
        } else {
            format!("{plain}.yml")
        };
        let text = folder.text(digest)?;
        let loaded = library.parse(path.as_str().into(), text);
        texts.insert(plain, loaded);
    }
    let gone = |name: &str| {
        CliError::new(format!(
            "find the text of `{name}` in the run's folder `{}`",
            folder.path()
        ))
    };
    let root = texts
        .get(begun.playbook.as_str())
        .cloned()
        .ok_or_else(|| gone(&begun.playbook))?;
    let playbook = checked(&root, colour)?;
    link(&playbook, root, colour, &mut |_, call| {
        let loaded = texts
            .get(call.name.as_str())
            .cloned()
            .ok_or_else(|| gone(&call.name))?;
        Ok((checked(&loaded, colour)?, loaded))
    })
}

/// Returns the texts that a run would begin with now, by the playbook's name, each with its path; those that can't be
/// found are left out.
pub(crate) fn texts_now(library: &Library, path: &str) -> BTreeMap<String, (String, String)> {
    let mut texts = BTreeMap::new();
    let Ok(root) = library.find(path) else {
        return texts;
    };
    let mut keep = |name: &str, loaded: &Loaded| {
        let text = (
            loaded.source.name.to_string(),
            loaded.source.text.to_string(),
        );
        texts.entry(name.to_owned()).or_insert(text);
    };
    let Some(playbook) = &root.playbook else {
        let name = camino::Utf8Path::new(path).file_stem().unwrap_or_default();
        keep(name, &root);
        return texts;
    };
    keep(&playbook.scope.name, &root);
    // What is wrong with them now is no matter of a run that has begun before.
    drop(language::link(playbook, &mut |caller, call| {
        let unusable = || Diagnostic::error("this call can't be made", call.place.clone());
        let loaded = library.find_called(caller, call).map_err(|_| unusable())?;
        keep(&call.name, &loaded);
        loaded.playbook.clone().ok_or_else(unusable)
    }));
    texts
}

/// Returns the playbook, or its problems as an error.
pub(crate) fn checked(loaded: &Loaded, colour: Colour) -> Result<Arc<Playbook>, CliError> {
    match &loaded.playbook {
        Some(playbook) => Ok(playbook.clone()),
        None => Err(problems(&loaded.problems, &loaded.source, colour)),
    }
}

/// Returns the problems of a text as an error.
pub(crate) fn problems(problems: &[Diagnostic], source: &Source, colour: Colour) -> CliError {
    let count = problems.iter().filter(|problem| problem.is_error()).count();
    let what = if count == 1 {
        "1 problem".to_owned()
    } else {
        format!("{count} problems")
    };
    CliError::usage(format!("{what} in `{}`; nothing was run", source.name))
        .detail(render(problems, source, colour))
}

/// Finds the playbook that a call means.
type Find<'a> = dyn FnMut(&Playbook, &CallSite) -> Result<(Arc<Playbook>, Loaded), CliError> + 'a;

fn link(
    root: &Arc<Playbook>,
    loaded: Loaded,
    colour: Colour,
    find: &mut Find<'_>,
) -> Result<Arc<Plan>, CliError> {
    let mut sources: Vec<(String, Arc<Source>)> = vec![(root.scope.path.clone(), loaded.source)];
    let mut failed: Option<CliError> = None;
    let linked = language::link(root, &mut |caller, call| match find(caller, call) {
        Ok((playbook, loaded)) => {
            sources.push((playbook.scope.path.clone(), loaded.source));
            Ok(playbook)
        }
        Err(error) => {
            let problem = Diagnostic::error(
                format!("this call can't be made: `{}`", call.name),
                call.place.clone(),
            );
            failed.get_or_insert(error);
            Err(problem)
        }
    });
    match (linked, failed) {
        (Ok(plan), None) => Ok(Arc::new(plan)),
        (Ok(_), Some(error)) => Err(error),
        (Err(found), failed) => {
            let mut detail = String::new();
            let count = found.len();
            for (playbook, problem) in found {
                if let Some((_, source)) = sources
                    .iter()
                    .find(|(path, _)| *path == playbook.scope.path)
                {
                    detail.push_str(&render(&[problem], source, colour));
                }
            }
            match failed {
                Some(error) => Err(error.detail(detail)),
                None => Err(CliError::usage(format!(
                    "{count} problems in the calls; nothing was run"
                ))
                .detail(detail)),
            }
        }
    }
}
