//! Stamps the day of the build, or of `SOURCE_DATE_EPOCH`, into the version text, and the commit that `ENSEMBLE_COMMIT` names.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-env-changed=ENSEMBLE_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let seconds =
        given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    println!("cargo:rustc-env=ENSEMBLE_BUILT_ON={}", utc(seconds));
    let commit = std::env::var("ENSEMBLE_COMMIT").ok().filter(|commit| !commit.is_empty());
    println!("cargo:rustc-env=ENSEMBLE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// `yyyy-MM-dd HH:mm UTC` (days to civil date after Howard Hinnant's `civil_from_days`).
fn utc(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", of_day / 3600, of_day / 60 % 60)
}
