//! A duration as people say it: `0.4 s`, `12 s`, `3 min 20 s`, `1 h 02 min`.

use std::time::Duration;

/// A duration in words.
pub(crate) fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", duration.as_secs_f64()),
        10..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let words = |millis| elapsed(Duration::from_millis(millis));
        assert_eq!(words(0), "0.0 s");
        assert_eq!(words(9_940), "9.9 s");
        assert_eq!(words(59_999), "59 s");
        assert_eq!(words(200_000), "3 min 20 s");
        assert_eq!(words(3_720_000), "1 h 02 min");
    }
}
