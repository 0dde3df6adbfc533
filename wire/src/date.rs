//! The four spellings of a moment on the wire. None of these reads a clock.

use std::time::{Duration, UNIX_EPOCH};

use fallthrough_object::Timestamp;

/// 9999-12-31T23:59:59Z, the last second that four digits of a year can say.
const LAST_SECOND: u64 = 253_402_300_799;

/// An HTTP date (RFC 9110 §5.6.7): IMF-fixdate, also the obsolete RFC 850 and asctime forms.
///
/// `None` on anything else, and before 1970.
pub fn parse_http(text: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(text.trim()).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_unix_secs(since.as_secs()))
}

/// An IMF-fixdate such as `Fri, 24 May 2013 00:00:00 GMT`; milliseconds are cut off.
pub fn format_http(moment: Timestamp) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(moment.unix_secs().min(LAST_SECOND)))
}

/// ISO 8601 with milliseconds, as S3 writes it in XML: `2013-05-24T00:00:00.000Z`.
pub fn format_iso(moment: Timestamp) -> String {
    let secs = moment.unix_secs().min(LAST_SECOND);
    let (year, month, day) = civil(secs / 86_400);
    let (hour, minute, second) = clock(secs);
    let mut out = String::with_capacity(24);
    push_digits(&mut out, year, 4);
    out.push('-');
    push_digits(&mut out, month, 2);
    out.push('-');
    push_digits(&mut out, day, 2);
    out.push('T');
    push_digits(&mut out, hour, 2);
    out.push(':');
    push_digits(&mut out, minute, 2);
    out.push(':');
    push_digits(&mut out, second, 2);
    out.push('.');
    push_digits(&mut out, moment.0 % 1000, 3);
    out.push('Z');
    out
}

/// Reads `2013-05-24T00:00:00Z`, with any number of decimals (cut to milliseconds) or none; `Z` or an offset.
///
/// `None` on anything else, and before 1970.
pub fn parse_iso(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let (date, time) = text.split_once(['T', 't'])?;
    let [year, month, day] = fixed(date, '-', [4, 2, 2])?;
    let (time, offset_secs) = split_offset(time)?;
    let (time, millis) = match time.split_once('.') {
        None => (time, 0),
        Some((time, fraction)) => (time, millis_of(fraction)?),
    };
    let [hour, minute, second] = fixed(time, ':', [2, 2, 2])?;
    let secs =
        i64::try_from(seconds(year, month, day, hour, minute, second)?).ok()?.checked_sub(offset_secs)?;
    Some(Timestamp(u64::try_from(secs).ok()?.checked_mul(1000)?.checked_add(millis)?))
}

/// `YYYYMMDDTHHMMSSZ`, as in `x-amz-date`; the first 8 characters are the date of the scope.
pub fn format_amz(moment: Timestamp) -> String {
    let secs = moment.unix_secs().min(LAST_SECOND);
    let (year, month, day) = civil(secs / 86_400);
    let (hour, minute, second) = clock(secs);
    let mut out = String::with_capacity(16);
    push_digits(&mut out, year, 4);
    push_digits(&mut out, month, 2);
    push_digits(&mut out, day, 2);
    out.push('T');
    push_digits(&mut out, hour, 2);
    push_digits(&mut out, minute, 2);
    push_digits(&mut out, second, 2);
    out.push('Z');
    out
}

/// Reads `YYYYMMDDTHHMMSSZ`; `None` on anything else, and before 1970.
pub fn parse_amz(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let field = |from: usize, to: usize| digits(text.get(from..to)?);
    let secs =
        seconds(field(0, 4)?, field(4, 6)?, field(6, 8)?, field(9, 11)?, field(11, 13)?, field(13, 15)?)?;
    Some(Timestamp::from_unix_secs(secs))
}

fn push_digits(out: &mut String, value: u64, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10_u64.pow(place) % 10;
        out.push(char::from(b"0123456789"[usize::try_from(digit).unwrap_or(0)]));
    }
}

fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) { None } else { text.parse().ok() }
}

fn fixed(text: &str, separator: char, widths: [usize; 3]) -> Option<[u64; 3]> {
    let mut out = [0; 3];
    let mut fields = text.split(separator);
    for (value, width) in out.iter_mut().zip(widths) {
        *value = digits(fields.next().filter(|field| field.len() == width)?)?;
    }
    if fields.next().is_some() { None } else { Some(out) }
}

fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let at = time.rfind(['+', '-'])?;
    let (time, offset) = time.split_at_checked(at)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours).filter(|h| *h < 24)?, digits(minutes).filter(|m| *m < 60)?);
    let secs = i64::try_from(hours * 3600 + minutes * 60).ok()?;
    Some((time, if offset.starts_with('-') { -secs } else { secs }))
}

fn millis_of(fraction: &str) -> Option<u64> {
    let kept = fraction.get(..fraction.len().min(3))?;
    digits(fraction.get(kept.len()..).filter(|rest| !rest.is_empty()).unwrap_or("0"))?;
    let scale = 10_u64.pow(u32::try_from(3 - kept.len()).ok()?);
    Some(digits(kept)? * scale)
}

/// Hour, minute and second of the day.
fn clock(secs: u64) -> (u64, u64, u64) {
    (secs / 3600 % 24, secs / 60 % 60, secs % 60)
}

fn seconds(year: u64, month: u64, day: u64, hour: u64, minute: u64, second: u64) -> Option<u64> {
    // A leap second (60) is read as the first second of the next minute, as POSIX time does.
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    let days = days_since_1970(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970-01-01 in the Gregorian calendar, counting years from March so that the leap day comes last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day;
    (365 * year + year / 4 - year / 100 + year / 400 + day_of_year).saturating_sub(719_469)
}

/// Year, month and day: the inverse of [`days_since_1970`].
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments_are_spelt_right() {
        // Seconds from `date -u -d ... +%s`.
        let rows = [
            (0, "19700101T000000Z", "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_369_353_600, "20130524T000000Z", "2013-05-24T00:00:00.000Z", "Fri, 24 May 2013 00:00:00 GMT"),
            (951_827_696, "20000229T123456Z", "2000-02-29T12:34:56.000Z", "Tue, 29 Feb 2000 12:34:56 GMT"),
            (
                253_402_300_799,
                "99991231T235959Z",
                "9999-12-31T23:59:59.000Z",
                "Fri, 31 Dec 9999 23:59:59 GMT",
            ),
        ];
        for (secs, amz, iso, http) in rows {
            let moment = Timestamp::from_unix_secs(secs);
            assert_eq!((format_amz(moment).as_str(), format_iso(moment).as_str()), (amz, iso));
            assert_eq!(format_http(moment), http);
            assert_eq!(
                (parse_amz(amz), parse_iso(iso), parse_http(http)),
                (Some(moment), Some(moment), Some(moment))
            );
        }
        assert_eq!(format_http(Timestamp(u64::MAX)), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn other_iso_spellings_are_read() {
        let rows = [
            ("2013-05-24T00:00:00Z", 1_369_353_600_000),
            ("2013-05-24T00:00:00.5Z", 1_369_353_600_500),
            ("2013-05-24T00:00:00.123456Z", 1_369_353_600_123),
            ("2013-05-24T02:00:00+02:00", 1_369_353_600_000),
            ("2013-05-23T22:30:00-01:30", 1_369_353_600_000),
        ];
        for (text, millis) in rows {
            assert_eq!(parse_iso(text), Some(Timestamp(millis)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in
            ["", "20130524", "20130532T000000Z", "20130229T000000Z", "20130524T240000Z", "2013052４T00000Z"]
        {
            assert_eq!(parse_amz(bad), None, "{bad}");
        }
        for bad in [
            "",
            "2013-05-24",
            "2013-13-01T00:00:00Z",
            "2013-05-24T00:00:00",
            "2013-05-24T00:00:00.Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(parse_iso(bad), None, "{bad}");
        }
        assert_eq!(parse_http("yesterday"), None);
    }

    proptest! {
        #[test]
        fn every_second_survives_the_round_trip(secs in 0..=LAST_SECOND) {
            let moment = Timestamp::from_unix_secs(secs);
            prop_assert_eq!(parse_amz(&format_amz(moment)), Some(moment));
            prop_assert_eq!(parse_iso(&format_iso(moment)), Some(moment));
            prop_assert_eq!(parse_http(&format_http(moment)), Some(moment));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = (parse_amz(&text), parse_iso(&text), parse_http(&text));
        }
    }
}
