//! A fingerprint of everything that happened, and, on request, a transcript of it.

use std::fmt;
use std::time::Duration;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
/// A failure shows this many of the last lines.
const TAIL_LINES: usize = 60;

/// FNV-1a of all lines; keeps the lines themselves when asked to.
pub struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
    print: bool,
}

impl Trace {
    /// Starts empty; `keep` keeps the lines, `print` prints them as they come.
    pub fn new(keep: bool, print: bool) -> Trace {
        Trace { hash: FNV_OFFSET, lines: (keep || print).then(Vec::new), print }
    }

    /// Mixes numbers into the fingerprint: cheaper than a line.
    pub fn mix(&mut self, numbers: &[u64]) {
        for byte in numbers.iter().flat_map(|number| number.to_le_bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
    }

    /// Adds a line to the transcript, if there is one; the fingerprint does not depend on it.
    pub fn line(&mut self, at: Duration, line: impl FnOnce() -> String) {
        let Some(lines) = &mut self.lines else { return };
        let line = format!("{:>10.3} {}", at.as_secs_f64(), line());
        if self.print {
            println!("{line}");
        }
        lines.push(line);
    }

    /// The fingerprint.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines of the transcript.
    pub fn tail(&self) -> &[String] {
        let lines = self.lines.as_deref().unwrap_or_default();
        &lines[lines.len().saturating_sub(TAIL_LINES)..]
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant or rule: `I-4`, `H-1`.
    pub check: &'static str,
    /// What was found.
    pub message: String,
}

impl Violation {
    /// A violation of `check`.
    pub fn new(check: &'static str, message: impl Into<String>) -> Violation {
        Violation { check, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.message)
    }
}

/// What a check returns.
pub type Verdict = Result<(), Violation>;
