//! Durations and sizes as people write them: `25s`, `1h30m`, `200GiB`.

use std::time::Duration;

/// Units of time, longest first, as written after a number.
const DURATION_UNITS: [(&str, u64); 6] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1), ("min", 60_000)];

/// Units of size.
const SIZE_UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads a duration: one or more of number and unit (`d h m s ms`), such as `25s` or `1h30m`; `0` alone is zero.
///
/// # Errors
/// What would be right, as the end of a sentence.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as \"25s\", \"500ms\" or \"1h30m\"");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, factor) =
            DURATION_UNITS.iter().find(|(unit, _)| *unit == &rest[..letters]).ok_or_else(wrong)?;
        millis = number.checked_mul(*factor).and_then(|ms| millis.checked_add(ms)).ok_or_else(wrong)?;
        rest = rest[letters..].trim_start();
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a duration in the largest unit that divides it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    DURATION_UNITS[..5]
        .iter()
        .find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor))
        .map_or_else(|| "0".to_owned(), |(unit, factor)| format!("{}{unit}", millis / factor))
}

/// Reads a size in bytes: a number with a unit (`B KB MB GB TB` by thousands, `KiB MiB GiB TiB` by 1,024),
/// or a number alone.
///
/// # Errors
/// What would be right, as the end of a sentence.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size such as \"200GiB\", \"5GB\" or \"1048576\"");
    let text_trimmed = text.trim();
    let digits = text_trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(text_trimmed.len());
    let number: u64 = text_trimmed[..digits].parse().map_err(|_| wrong())?;
    let unit = text_trimmed[digits..].trim_start();
    if unit.is_empty() {
        return Ok(number);
    }
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    number.checked_mul(*factor).ok_or_else(wrong)
}

/// Writes a size in bytes for people: the largest unit by 1,024, one decimal where it is not whole.
pub(crate) fn show_size(size_bytes: u64) -> String {
    for (unit, factor) in &SIZE_UNITS[..4] {
        if size_bytes >= *factor {
            let tenths = u128::from(size_bytes) * 10 / u128::from(*factor);
            return if tenths.is_multiple_of(10) {
                format!("{} {unit}", tenths / 10)
            } else {
                format!("{}.{} {unit}", tenths / 10, tenths % 10)
            };
        }
    }
    format!("{size_bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in [
            ("25s", 25_000),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("5min", 300_000),
            ("1m 5s", 65_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "25", "s", "25 parsecs", "-1s", "1.5h", "99999999999999999999s", "9999999999999999d"]
        {
            let message = parse_duration(bad).unwrap_err();
            assert!(message.contains("is not a duration such as"), "{bad}: {message}");
        }
    }

    #[test]
    fn shown_durations_read_back() {
        for text in ["25s", "500ms", "90m", "2d", "1500ms", "0"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_tell_thousands_from_1024s() {
        for (text, bytes) in [
            ("200GiB", 200 << 30),
            ("5GB", 5_000_000_000),
            ("1048576", 1 << 20),
            ("0", 0),
            ("64 MiB", 64 << 20),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GiB", "5 gigs", "-5GB", "1.5GiB", "99999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(show_size(1536), "1.5 KiB");
        assert_eq!(show_size(5 << 30), "5 GiB");
        assert_eq!(show_size(999), "999 B");
    }
}
