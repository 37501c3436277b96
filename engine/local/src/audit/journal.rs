//! Proving a journal.

use std::{collections::BTreeMap, sync::Arc};

use runwright_core::{event::Begun, plan::Plan};

use super::{
    Against, Fault, Report, RunReport, What, head_missing, judge, judge_signed, projection,
    run_missing,
};
use crate::{
    folder::RunFolder,
    journal::{Journal, JournalError, KeptSignature, KeptStone, Verification, Walked},
    lock::Lock,
    run::RunError,
    signature::PublicKey,
};

/// Returns the plan of a run from what lies in its folder, or why it can't be had.
pub type PlanOf<'a> = dyn FnMut(&Begun, &RunFolder) -> Result<Arc<Plan>, String> + 'a;

/// Proves `runs`, or all runs where none is named, of a journal that [is held](Journal::hold).
///
/// # Errors
///
/// When the journal can't be read; a fault is a result.
pub fn verify(
    journal: &Journal,
    runs: &[String],
    against: &Against,
    plan_of: &mut PlanOf<'_>,
    tell: &mut dyn FnMut(Walked),
) -> Result<Report, RunError> {
    let walked = walk(journal, runs, tell)?;
    let mut faults = Vec::new();
    let mut notes = Vec::new();
    for run in &walked.runs {
        let difference = run.difference.filter(|_| !run.is_pruned);
        faults.extend(difference.map(|difference| Fault::of(&run.run, difference)));
    }
    for number in &walked.missing {
        let text = format!("the run with the number {number} is not there");
        faults.push(Fault::new(What::RunMissing, "", None, text));
    }
    for run in &walked.strangers {
        let text = "it has events, a row or a stone, but it never began";
        faults.push(Fault::new(What::RunStrange, run, None, text));
    }
    let asked = |run: &str| runs.is_empty() || runs.iter().any(|asked| asked == run);
    stones(journal, &walked, &asked, &mut faults)?;
    let vouching = signatures(journal, &walked, &asked, &mut faults)?;
    heads(journal, &walked, against, &asked, &mut faults)?;
    if let Some(key) = &against.key {
        signed(journal, &walked, against, key, &vouching, &mut faults)?;
    }
    for run in &walked.runs {
        if run.difference.is_none() && !run.is_pruned {
            projection::compare(journal, &run.run, plan_of, &mut faults, &mut notes)?;
        }
    }
    let reports = walked.runs.iter().map(|run| RunReport {
        run: run.run.clone(),
        number: run.number,
        events: run.events,
        head: run.head,
        pruned: run.is_pruned,
        signed_by: vouching
            .get(&run.run)
            .into_iter()
            .flatten()
            .map(PublicKey::fingerprint)
            .collect(),
    });
    Ok(Report::new(reports.collect(), faults, notes))
}

fn walk(
    journal: &Journal,
    runs: &[String],
    tell: &mut dyn FnMut(Walked),
) -> Result<Verification, JournalError> {
    if runs.is_empty() {
        return journal.verify_told(None, tell);
    }
    let mut all = Verification {
        runs: Vec::new(),
        missing: Vec::new(),
        strangers: Vec::new(),
    };
    for run in runs {
        all.runs.extend(journal.verify_told(Some(run), tell)?.runs);
    }
    Ok(all)
}

fn stones(
    journal: &Journal,
    walked: &Verification,
    asked: &dyn Fn(&str) -> bool,
    faults: &mut Vec<Fault>,
) -> Result<(), JournalError> {
    for stone in journal.stones()?.iter().filter(|stone| asked(&stone.run)) {
        let KeptStone {
            run,
            text,
            hash,
            is_broken,
        } = stone;
        let changed = |text: &str| Fault::new(What::StoneChanged, run, None, text);
        let walked = walked.runs.iter().find(|walked| walked.run == *run);
        if walked.is_some_and(|walked| walked.difference.is_some()) {
            faults.push(changed(
                "its stone names another first event than the run had",
            ));
        } else if *is_broken
            || text
                .as_ref()
                .is_none_or(|text| hash.is_some_and(|hash| hash != text.hash()))
        {
            faults.push(changed("its stone is not the one that was written"));
        } else if journal.hash_at(run, 1)?.is_some() {
            faults.push(changed("it has a stone and events as well"));
        }
    }
    Ok(())
}

/// Judges every signature; returns who vouches for the head of each run.
fn signatures(
    journal: &Journal,
    walked: &Verification,
    asked: &dyn Fn(&str) -> bool,
    faults: &mut Vec<Fault>,
) -> Result<BTreeMap<String, Vec<PublicKey>>, JournalError> {
    let mut vouching: BTreeMap<String, Vec<PublicKey>> = BTreeMap::new();
    for signature in journal.signatures(None)? {
        let KeptSignature { run, seq, .. } = &signature;
        if !asked(run) {
            continue;
        }
        let Some(of) = walked.runs.iter().find(|walked| walked.run == *run) else {
            faults.push(run_missing(run, "a signature"));
            continue;
        };
        let there = match of.is_pruned {
            true => of.head,
            false => journal.hash_at(run, *seq)?,
        };
        match judge(&signature, there.as_ref()) {
            Ok(key) if *seq == of.events => vouching.entry(run.clone()).or_default().push(key),
            Ok(_) => {}
            Err(fault) => faults.push(fault),
        }
    }
    Ok(vouching)
}

fn heads(
    journal: &Journal,
    walked: &Verification,
    against: &Against,
    asked: &dyn Fn(&str) -> bool,
    faults: &mut Vec<Fault>,
) -> Result<(), JournalError> {
    let mut last: Option<&str> = None;
    for (run, head) in against.heads.iter().filter(|(run, _)| asked(run)) {
        let Some(of) = walked.runs.iter().find(|walked| walked.run == *run) else {
            if last != Some(run) {
                faults.push(run_missing(run, "a kept head"));
            }
            last = Some(run);
            continue;
        };
        // Of a pruned run only the last head is still known: an earlier one says nothing where that one was kept too.
        let is_known = match of.is_pruned {
            true => against.heads_of(run).any(|head| of.head == Some(*head)),
            false => journal.contains(run, head)?,
        };
        if !is_known {
            faults.push(head_missing(run, head));
        }
    }
    Ok(())
}

fn signed(
    journal: &Journal,
    walked: &Verification,
    against: &Against,
    key: &PublicKey,
    vouching: &BTreeMap<String, Vec<PublicKey>>,
    faults: &mut Vec<Fault>,
) -> Result<(), RunError> {
    let from = against.signed_from.as_ref();
    let from = from.and_then(|from| walked.runs.iter().find(|run| run.run == *from));
    let from = from.map_or(0, |run| run.number);
    for run in walked.runs.iter().filter(|run| run.number >= from) {
        let held = Lock::holder(&journal.home().lock(&run.run));
        if held.map_err(JournalError::from)?.is_some() {
            continue;
        }
        let keys = vouching.get(&run.run).map_or(&[][..], Vec::as_slice);
        faults.extend(judge_signed(&run.run, run.events, keys, key));
    }
    Ok(())
}
