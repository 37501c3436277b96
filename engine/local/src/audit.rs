//! Proving that a journal, or an export of one, is as it was written.
//!
//! What the file alone proves is found without anything else; that its end was not cut off, or all of it written anew,
//! only a head kept elsewhere or a signature can prove.

pub mod export;
mod journal;
mod projection;
mod report;

pub use self::{
    journal::{PlanOf, verify},
    report::{Fault, Report, RunReport, What},
};
use crate::{
    journal::{EventHash, KeptSignature},
    signature::PublicKey,
};

/// What is known from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Against {
    /// Heads that were kept: run and hash.
    pub heads: Vec<(String, EventHash)>,
    /// The key that must have signed every run that is not going on.
    pub key: Option<PublicKey>,
    /// The first run that must be signed.
    pub signed_from: Option<String>,
}

impl Against {
    fn heads_of<'a>(&'a self, run: &'a str) -> impl Iterator<Item = &'a EventHash> {
        let heads = self.heads.iter().filter(move |(of, _)| of == run);
        heads.map(|(_, head)| head)
    }
}

/// Judges a signature by itself, and against the hash that stands at its place; returns who vouches.
fn judge(signature: &KeptSignature, there: Option<&EventHash>) -> Result<PublicKey, Fault> {
    let KeptSignature {
        run,
        seq,
        hash,
        key,
        signature,
    } = signature;
    let wrong = |text: &str| {
        let text = format!("the signature on event {seq} {text}");
        Err(Fault::new(What::SignatureWrong, run, Some(*seq), text))
    };
    let Ok(hash) = <[u8; 32]>::try_from(hash.as_slice()).map(EventHash) else {
        return wrong("is over something that is no hash");
    };
    let Some(key) = PublicKey::of(key) else {
        return wrong("names a key that is none");
    };
    if !key.vouches(run, *seq, &hash, signature) {
        return wrong("was not made by the key that it names");
    }
    match there {
        Some(there) if *there == hash => Ok(key),
        Some(_) => wrong("is over another event than the one that stands there now"),
        None => Err(Fault::new(
            What::EndCut,
            run,
            Some(*seq),
            format!("event {seq}, which is signed, is not there any more"),
        )),
    }
}

/// Judges whether the head of a run is signed by the key that was asked for.
fn judge_signed(run: &str, last: u64, vouching: &[PublicKey], key: &PublicKey) -> Option<Fault> {
    if vouching.contains(key) {
        return None;
    }
    let fingerprint = key.fingerprint();
    Some(match vouching.first() {
        Some(other) => Fault::new(
            What::SignatureOfAnother,
            run,
            Some(last),
            format!(
                "its head is signed by {}, not by {fingerprint}",
                other.fingerprint()
            ),
        ),
        None => Fault::new(
            What::SignatureMissing,
            run,
            Some(last),
            format!("its head is not signed by {fingerprint}"),
        ),
    })
}

fn head_missing(run: &str, head: &EventHash) -> Fault {
    let text = format!("the kept head {head} is not in the chain of the run");
    Fault::new(What::HeadMissing, run, None, text)
}

fn run_missing(run: &str, known: &str) -> Fault {
    let text = format!("the run is not there, and {known} says that it was");
    Fault::new(What::RunMissing, run, None, text)
}
