//! Lifecycle rules as the run sets them and the models know them, and the days that they count.

use fallthrough_object::Timestamp;
use fallthrough_wire::date::format_iso;

use crate::did::Tags;
use crate::history::Moment;

/// Noon of the day before anything is due.
pub(crate) const BEGINNING: Timestamp = Timestamp((MIDNIGHT + 43_200) * 1000);
/// Midnight of that day.
const MIDNIGHT: u64 = 1_767_225_600;
/// Seconds of a day.
pub(crate) const DAY_SECS: u64 = 86_400;

/// When each day but the first began: the clock leaps from one noon to the next.
#[derive(Clone, Debug, Default)]
pub struct Days(pub Vec<Moment>);

impl Days {
    fn at(&self, moment: Moment) -> u8 {
        u8::try_from(self.0.partition_point(|began| *began <= moment)).expect("a run has few days")
    }

    /// The days that it may have been between the two.
    pub(crate) fn within(&self, from: Moment, to: Moment) -> std::ops::RangeInclusive<u8> {
        self.at(from)..=self.at(to)
    }
}

/// What makes an object or an upload due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Objects, so many days after they were modified.
    Age(u8),
    /// Objects, from the midnight on that begins this day.
    Day(u8),
    /// Uploads, so many days after they began.
    Upload(u8),
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Of the keys that it is for.
    pub prefix: &'static str,
    /// Only for objects with the tag `even=yes`.
    pub even_only: bool,
    /// When.
    pub when: When,
}

impl Rule {
    /// Whether an object whose age counts from the day `since` on is due on `day`; `None`: it is not; `Some(false)`: only
    /// its tags, which nobody knows, could tell.
    pub(crate) fn is_due(&self, tags: Tags, since: u8, day: u8) -> Option<bool> {
        let due = match self.when {
            When::Age(days) => day >= since + days,
            When::Day(first) => day >= first,
            When::Upload(_) => false,
        };
        match (due, self.even_only, tags.are_even()) {
            (false, ..) | (true, true, Some(false)) => None,
            (true, false, _) | (true, true, Some(true)) => Some(true),
            (true, true, None) => Some(false),
        }
    }

    /// Whether an upload that began on the day before `since` is due on `day`.
    pub(crate) fn ends_upload(&self, since: u8, day: u8) -> bool {
        matches!(self.when, When::Upload(days) if day >= since + days)
    }

    fn to_xml(self, number: usize) -> String {
        let prefix = format!("<Prefix>{}</Prefix>", self.prefix);
        let filter = match self.even_only {
            true => format!("<And>{prefix}<Tag><Key>even</Key><Value>yes</Value></Tag></And>"),
            false => prefix,
        };
        let midnight = |day: u8| format_iso(Timestamp::from_unix_secs(MIDNIGHT + u64::from(day) * DAY_SECS));
        let what = match self.when {
            When::Age(days) => format!("<Expiration><Days>{days}</Days></Expiration>"),
            When::Day(day) => format!("<Expiration><Date>{}</Date></Expiration>", midnight(day)),
            When::Upload(days) => format!(
                "<AbortIncompleteMultipartUpload><DaysAfterInitiation>{days}</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
            ),
        };
        format!("<Rule><ID>{number}</ID><Filter>{filter}</Filter><Status>Enabled</Status>{what}</Rule>")
    }
}

/// The document that sets these rules.
pub(crate) fn document(rules: &[Rule]) -> String {
    let rules: String = rules.iter().enumerate().map(|(number, rule)| rule.to_xml(number)).collect();
    format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>")
}
