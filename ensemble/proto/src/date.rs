//! Dates as ZooKeeper's tools print them: `Date.toString` and `DateFormat` with SHORT and LONG.
//!
//! Differs from ZooKeeper: the time zone is always UTC, and the language English, whatever the machine's are.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_MS: i64 = 86_400_000;

/// A moment of the calendar.
struct Date {
    year: i64,
    /// 1 to 12.
    month: i64,
    day: i64,
    /// Days since a Thursday, 0 to 6.
    weekday: i64,
    hour: i64,
    minute: i64,
    second: i64,
    millisecond: i64,
}

impl Date {
    /// Days to civil date after Howard Hinnant's `civil_from_days`; `ms` since the Unix epoch.
    fn of(ms: i64) -> Date {
        let (days, within) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Date {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            weekday: days.rem_euclid(7),
            hour: within / 3_600_000,
            minute: within / 60_000 % 60,
            second: within / 1000 % 60,
            millisecond: within % 1000,
        }
    }
}

/// `Sun Nov 22 10:45:53 UTC 2026`: Java's `Date.toString` of milliseconds since the Unix epoch.
pub fn long(ms: i64) -> String {
    let Date { year, month, day, weekday, hour, minute, second, .. } = Date::of(ms);
    let (weekday, month) = (DAYS[weekday as usize], MONTHS[month as usize - 1]);
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// `11/22/26, 10:45:53 AM UTC`: Java's `DateFormat` of milliseconds since the Unix epoch, SHORT date and LONG time.
pub fn short(ms: i64) -> String {
    let Date { year, month, day, hour, minute, second, .. } = Date::of(ms);
    let (half, clock) = (if hour < 12 { "AM" } else { "PM" }, if hour % 12 == 0 { 12 } else { hour % 12 });
    format!("{month}/{day}/{:02}, {clock}:{minute:02}:{second:02} {half} UTC", year.rem_euclid(100))
}

/// `2026-11-22T10:45:53.123Z`: RFC 3339, for programs.
pub fn rfc3339(ms: i64) -> String {
    let Date { year, month, day, hour, minute, second, millisecond, .. } = Date::of(ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_java_writes_them() {
        for (ms, expected_long, expected_short, expected_rfc3339) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970", "1/1/70, 12:00:00 AM UTC", "1970-01-01T00:00:00.000Z"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969", "12/31/69, 11:59:59 PM UTC", "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000", "2/29/00, 12:00:00 AM UTC", "2000-02-29T00:00:00.000Z"),
            (
                1_795_344_353_123,
                "Sun Nov 22 10:45:53 UTC 2026",
                "11/22/26, 10:45:53 AM UTC",
                "2026-11-22T10:45:53.123Z",
            ),
            (4_107_542_399_999, "Sun Feb 28 23:59:59 UTC 2100", "2/28/00, 11:59:59 PM UTC", "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "Mon Mar 01 00:00:00 UTC 2100", "3/1/00, 12:00:00 AM UTC", "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!((long(ms), short(ms)), (expected_long.to_owned(), expected_short.to_owned()), "{ms}");
            assert_eq!(rfc3339(ms), expected_rfc3339, "{ms}");
        }
    }

    #[test]
    fn no_number_of_milliseconds_is_too_much() {
        for ms in [i64::MIN, i64::MAX] {
            assert!(long(ms).contains("UTC"), "{ms}");
        }
    }
}
