//! Maintenance windows: when servers that work may be restarted.
//!
//! A window begins at a time of day in a time zone, on some days of the week, and lasts for so many minutes of real time, whatever becomes
//! of the clocks meanwhile. The rules of the time zones are part of the program: there are none in the image, and what a pass decides
//! must not depend on the machine.

use jiff::civil::{Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan};
use operator_api::MaintenanceWindow;

/// The days after today among which the next beginning is: a week, today included, and one that has no such hour.
const DAYS_AHEAD: i32 = 8;

/// A window whose words make sense.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// None for every day.
    days: Vec<Weekday>,
    start: Time,
    duration: SignedDuration,
    zone: TimeZone,
}

impl Window {
    /// Reads a window.
    ///
    /// # Errors
    ///
    /// A time, a duration or a time zone that there is not, in words that follow the field's name.
    pub(crate) fn of(spec: &MaintenanceWindow) -> Result<Self, String> {
        let start = Time::strptime("%H:%M", &spec.start)
            .map_err(|_| format!(".start is {:?}; write hours and minutes, such as 22:30", spec.start))?;
        if !(10..=1440).contains(&spec.duration_minutes) {
            return Err(format!(".durationMinutes is {}; write 10 to 1440", spec.duration_minutes));
        }
        let name = spec.time_zone.as_deref().unwrap_or("UTC");
        let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| {
            format!(".timeZone is {name:?}, which is no IANA time zone; write one such as Europe/Berlin")
        })?;
        let duration = SignedDuration::from_mins(i64::from(spec.duration_minutes));
        Ok(Self { days: spec.days.iter().copied().map(weekday).collect(), start, duration, zone })
    }

    /// Whether it is open.
    fn is_open(&self, now: Timestamp) -> bool {
        // It may have begun yesterday, and last for a day.
        (-2..=0)
            .filter_map(|days| self.begins(now, days))
            .any(|begin| begin <= now && now.duration_since(begin) < self.duration)
    }

    /// When it begins next.
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        (0..=DAYS_AHEAD).filter_map(|days| self.begins(now, days)).find(|begin| *begin > now)
    }

    /// When it begins so many days after today, if it does on that day. A time that the clocks leave out is moved on by as much.
    fn begins(&self, now: Timestamp, days: i32) -> Option<Timestamp> {
        let today = self.zone.to_datetime(now).date();
        let day = today.checked_add(days.days()).ok()?;
        let is_day = self.days.is_empty() || self.days.contains(&day.weekday());
        let begin = is_day.then(|| self.zone.to_timestamp(day.to_datetime(self.start)))?;
        begin.ok()
    }
}

/// When the next window opens; none when there are no windows, or one is open.
pub(crate) fn opens(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    if windows.iter().any(|window| window.is_open(now)) {
        return None;
    }
    windows.iter().filter_map(|window| window.next(now)).min()
}

fn weekday(day: operator_api::Weekday) -> Weekday {
    match day {
        operator_api::Weekday::Monday => Weekday::Monday,
        operator_api::Weekday::Tuesday => Weekday::Tuesday,
        operator_api::Weekday::Wednesday => Weekday::Wednesday,
        operator_api::Weekday::Thursday => Weekday::Thursday,
        operator_api::Weekday::Friday => Weekday::Friday,
        operator_api::Weekday::Saturday => Weekday::Saturday,
        operator_api::Weekday::Sunday => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use operator_api::Weekday::{Saturday, Sunday};

    use super::*;

    fn spec(days: &[operator_api::Weekday], start: &str, minutes: i32, zone: Option<&str>) -> MaintenanceWindow {
        let (start, time_zone) = (start.to_owned(), zone.map(str::to_owned));
        MaintenanceWindow { days: days.to_vec(), start, duration_minutes: minutes, time_zone }
    }

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a timestamp")
    }

    /// At a time the windows are open, for an empty `want`, or open next at that time.
    fn check(windows: &[MaintenanceWindow], now: &str, want: &str) {
        let windows: Vec<Window> = windows.iter().map(|spec| Window::of(spec).expect("a window")).collect();
        let got = opens(&windows, at(now)).map(|at| at.to_string()).unwrap_or_default();
        assert_eq!(got, want, "{windows:?} at {now}");
    }

    #[test]
    fn without_windows_it_is_always_open() {
        check(&[], "2030-01-01T00:00:00Z", "");
    }

    #[test]
    fn a_window_is_open_from_its_start_to_its_end() {
        let daily = [spec(&[], "22:00", 180, None)];
        check(&daily, "2030-01-01T21:59:59Z", "2030-01-01T22:00:00Z");
        check(&daily, "2030-01-01T22:00:00Z", "");
        check(&daily, "2030-01-02T00:59:59Z", "");
        check(&daily, "2030-01-02T01:00:00Z", "2030-01-02T22:00:00Z");
        check(&[spec(&[], "22:00", 1440, None)], "2030-01-02T21:59:59Z", "");
    }

    #[test]
    fn days_are_those_on_which_it_begins() {
        // The 5th of January 2030 is a Saturday.
        let weekend = [spec(&[Saturday], "22:00", 240, None)];
        check(&weekend, "2030-01-01T22:30:00Z", "2030-01-05T22:00:00Z");
        check(&weekend, "2030-01-06T01:30:00Z", "");
        check(&weekend, "2030-01-06T02:00:00Z", "2030-01-12T22:00:00Z");
        check(&weekend, "2030-01-05T22:00:00Z", "");
    }

    #[test]
    fn the_first_of_several_counts() {
        let both = [spec(&[Sunday], "03:00", 60, None), spec(&[Saturday], "23:00", 60, None)];
        check(&both, "2030-01-01T00:00:00Z", "2030-01-05T23:00:00Z");
        check(&both, "2030-01-06T00:00:00Z", "2030-01-06T03:00:00Z");
        check(&both, "2030-01-06T03:59:00Z", "");
    }

    #[test]
    fn the_clock_is_that_of_the_time_zone() {
        let berlin = [spec(&[Sunday], "02:30", 60, Some("Europe/Berlin"))];
        check(&berlin, "2030-01-06T00:00:00Z", "2030-01-06T01:30:00Z");
        // On the 31st of March 2030 there is no 02:30: it is 03:30 summer time then.
        check(&berlin, "2030-03-30T12:00:00Z", "2030-03-31T01:30:00Z");
        // On the 27th of October it is 02:30 twice: the first counts, and an hour is an hour.
        check(&berlin, "2030-10-26T12:00:00Z", "2030-10-27T00:30:00Z");
        check(&berlin, "2030-10-27T01:29:59Z", "");
        check(&berlin, "2030-10-27T01:30:00Z", "2030-11-03T01:30:00Z");
        // It is Sunday there already, and Saturday in UTC.
        check(&[spec(&[Sunday], "09:00", 60, Some("Pacific/Auckland"))], "2030-01-05T20:30:00Z", "");
    }

    #[test]
    fn what_is_no_window_is_refused() {
        let refused = |window: MaintenanceWindow, why: &str| {
            let got = Window::of(&window);
            assert!(got.as_ref().is_err_and(|error| error.contains(why)), "{got:?}");
        };
        refused(spec(&[], "24:00", 60, None), ".start is \"24:00\"");
        refused(spec(&[], "noon", 60, None), "such as 22:30");
        refused(spec(&[], "12:00", 9, None), ".durationMinutes is 9; write 10 to 1440");
        refused(spec(&[], "12:00", 1441, None), ".durationMinutes");
        refused(spec(&[], "12:00", 60, Some("Mars/Olympus")), "no IANA time zone");
    }
}
