//! So many in a stretch of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// So many things in a second, minute, hour or day, written as `100/s`, `60/min`, `500/h` or `10000/day`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    count: u32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

impl Unit {
    const ALL: [(Self, &str, u64); 4] = [
        (Self::Second, "s", 1),
        (Self::Minute, "min", 60),
        (Self::Hour, "h", 3600),
        (Self::Day, "day", 86_400),
    ];

    fn parts(self) -> (&'static str, u64) {
        let (_, name, secs) = Self::ALL[self as usize];
        (name, secs)
    }
}

impl Rate {
    /// How many; at least one.
    pub fn count(self) -> u32 {
        self.count
    }

    /// In how long.
    pub fn per(self) -> Duration {
        Duration::from_secs(self.unit.parts().1)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a rate such as \"100/s\", \"60/min\", \"500/h\" or \"10000/day\"");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let known = Unit::ALL.iter().find(|(_, name, _)| *name == unit.trim());
        let (unit, ..) = *known.ok_or_else(wrong)?;
        let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?;
        Ok(Self { count, unit })
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit.parts().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_they_are_written() {
        for (text, count, secs) in [
            ("100/s", 100, 1),
            ("60/min", 60, 60),
            ("500/h", 500, 3600),
            ("4294967295/day", u32::MAX, 86_400),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(
                (rate.count(), rate.per(), rate.to_string()),
                (count, Duration::from_secs(secs), text.to_owned())
            );
        }
        for wrong in ["", "5", "0/s", "-1/s", "1/month", "1.5/s", "4294967296/s", "/s", "5/"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
