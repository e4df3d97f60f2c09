//! Times and durations as people read them. Times of records are UTC, and say so.

/// A record's time, such as `2026-01-31T23:59:59Z`, to the minute.
pub(crate) fn minute(time: &str) -> String {
    format!("{} UTC", to_the_minute(time))
}

/// The same for a column that says UTC in its head.
pub(crate) fn to_the_minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

/// A record's time to the second.
pub(crate) fn second(time: &str) -> String {
    time.strip_suffix('Z').map_or_else(|| time.to_owned(), |time| format!("{} UTC", time.replace('T', " ")))
}

/// A duration in the two units that matter.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=59 => format!("{whole} s"),
        60..=3599 => format!("{} min {} s", whole / 60, whole % 60),
        3600..=86_399 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (3.21, "3.2 s"),
            (59.4, "59 s"),
            (59.6, "1 min 0 s"),
            (3725.0, "1 h 2 min"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn times_say_that_they_are_utc() {
        assert_eq!(minute("2026-01-31T23:59:59Z"), "2026-01-31 23:59 UTC");
        assert_eq!(second("2026-01-31T23:59:59Z"), "2026-01-31 23:59:59 UTC");
        assert_eq!(minute("?"), "? UTC");
    }
}
