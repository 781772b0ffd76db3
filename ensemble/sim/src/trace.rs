//! A fingerprint of everything that happened, and, on request, a transcript of it, or its story: only what somebody did on purpose, and
//! what became of it.

use std::fmt;
use std::time::Duration;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
/// FNV-1a of all that happened, and what is printed of it.
pub struct Trace {
    hash: u64,
    tell: Tell,
}

/// What is printed of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Tell {
    /// Nothing.
    #[default]
    Nothing,
    /// Faults and requests, each behind its name ([`crate::shrink`]), and who leads.
    Story,
    /// Every message and write.
    Everything,
}

/// Begins the line of an event with a name.
pub const EVENT: &str = "EVENT ";

impl Trace {
    /// Starts empty.
    pub fn new(tell: Tell) -> Trace {
        Trace { hash: FNV_OFFSET, tell }
    }

    /// Mixes numbers into the fingerprint: cheaper than a line.
    pub fn mix(&mut self, numbers: &[u64]) {
        for byte in numbers.iter().flat_map(|number| number.to_le_bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
    }

    /// A line of the transcript; the fingerprint does not depend on it.
    pub fn line(&self, at: Duration, line: impl FnOnce() -> String) {
        if self.tell == Tell::Everything {
            println!("{:>10.3} {}", at.as_secs_f64(), line());
        }
    }

    /// A line of the story, and of the transcript.
    pub fn tale(&self, at: Duration, line: impl FnOnce() -> String) {
        if self.tell != Tell::Nothing {
            println!("{:>10.3} {}", at.as_secs_f64(), line());
        }
    }

    /// Something happens that could be left out.
    pub fn event(&self, at: Duration, kind: &str, number: u64, line: impl FnOnce() -> String) {
        match self.tell {
            Tell::Nothing => {}
            Tell::Story => println!("{EVENT}{kind}.{number} {:.3} {}", at.as_secs_f64(), line()),
            Tell::Everything => println!("{:>10.3} {}", at.as_secs_f64(), line()),
        }
    }

    /// The fingerprint.
    pub fn hash(&self) -> u64 {
        self.hash
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
