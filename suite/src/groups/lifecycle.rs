//! The lifecycle configuration of a bucket: what is put is what is got, and what is refused.

use crate::call::{Call, bucket, call, get, head, put};
use crate::case::Table;

fn set(rules: &[&str]) -> Call {
    let rules: String = rules.iter().map(|rule| format!("<Rule>{rule}</Rule>")).collect();
    bucket("PUT", "lifecycle").body(format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>")).md5()
}

fn have() -> Call {
    bucket("GET", "lifecycle").gives(200).root("LifecycleConfiguration")
}

fn none() -> Call {
    bucket("GET", "lifecycle").fails(404, "NoSuchLifecycleConfiguration")
}

const DAYS: &str = "<ID>days</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>30</Days></Expiration>";

pub(super) fn cases(table: &mut Table) {
    table
        .case("put, get, delete")
        .ask(none())
        .ask(set(&[DAYS]).gives(200))
        .ask(
            have()
                .all("Rule/ID", ["days"])
                .all("Rule/Filter/Prefix", ["logs/"])
                .all("Rule/Status", ["Enabled"])
                .all("Rule/Expiration/Days", ["30"]),
        )
        .ask(bucket("DELETE", "lifecycle").gives(204))
        .ask(none())
        .ask(bucket("DELETE", "lifecycle").gives(204));
    accepted(table);
    refused(table);
    told(table);
    table
        .case("put replaces")
        .ask(set(&[DAYS]).gives(200))
        .ask(set(&["<ID>other</ID><Prefix></Prefix><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>"]).gives(200))
        .ask(have().all("Rule/ID", ["other"]));
    table
        .case("several rules, in their order")
        .ask(
            set(&[
                "<ID>b</ID><Prefix>b/</Prefix><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>",
                "<ID>a</ID><Prefix>a/</Prefix><Status>Disabled</Status><Expiration><Days>2</Days></Expiration>",
            ])
            .gives(200),
        )
        .ask(have().all("Rule/ID", ["b", "a"]).all("Rule/Status", ["Enabled", "Disabled"]).all("Rule/Prefix", ["b/", "a/"]));
    table
        .case("a rule without a name is given one")
        .ask(
            set(&["<Prefix>x</Prefix><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>"])
                .gives(200),
        )
        .ask(have().count("Rule/ID", 1).all("Rule/Prefix", ["x"]).none("Rule/Filter"));
    table
        .case("somebody else may neither read nor write it")
        .ask(set(&[DAYS]).gives(200))
        .ask(bucket("GET", "lifecycle").by_second().fails(403, "AccessDenied"))
        .ask(set(&[DAYS]).by_second().fails(403, "AccessDenied"))
        .ask(bucket("DELETE", "lifecycle").by_second().fails(403, "AccessDenied"));
    table
        .case("a bucket made again has none")
        .ask(set(&[DAYS]).gives(200))
        .ask(call("DELETE", "/{bucket}").gives(204))
        .ask(call("PUT", "/{bucket}").gives(200))
        .ask(none());
}

/// What a rule does, the rule, and what must stand in the answer: paths and texts.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

fn accepted(table: &mut Table) {
    let rows: [Row; 10] = [
        (
            "by date",
            "<ID>r</ID><Prefix>x</Prefix><Status>Enabled</Status><Expiration><Date>2027-09-27T00:00:00.000Z</Date></Expiration>",
            &[("Rule/Prefix", "x")],
        ),
        (
            "by a day without a time",
            "<ID>r</ID><Prefix>x</Prefix><Status>Enabled</Status><Expiration><Date>2027-09-27</Date></Expiration>",
            &[("Rule/Prefix", "x")],
        ),
        (
            "by tag",
            "<ID>r</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>",
            &[("Rule/Filter/Tag/Key", "k"), ("Rule/Filter/Tag/Value", "v")],
        ),
        (
            "by prefix and tag",
            "<ID>r</ID><Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter><Status>Enabled</Status>\
             <Expiration><Days>1</Days></Expiration>",
            &[("Rule/Filter/And/Prefix", "p"), ("Rule/Filter/And/Tag/Key", "k")],
        ),
        (
            "with an empty filter",
            "<ID>r</ID><Filter/><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>",
            &[("Rule/Filter", "")],
        ),
        (
            "with an empty prefix",
            "<ID>r</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>",
            &[("Rule/Filter/Prefix", "")],
        ),
        (
            "that ends uploads",
            "<ID>r</ID><Filter/><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload>",
            &[("Rule/AbortIncompleteMultipartUpload/DaysAfterInitiation", "2")],
        ),
        (
            "that is off",
            "<ID>r</ID><Filter/><Status>Disabled</Status><Expiration><Days>1</Days></Expiration>",
            &[("Rule/Status", "Disabled")],
        ),
        (
            "for versions that are no longer the latest",
            "<ID>r</ID><Filter/><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays></NoncurrentVersionExpiration>",
            &[("Rule/NoncurrentVersionExpiration/NoncurrentDays", "2")],
        ),
        (
            "for markers of deleted objects",
            "<ID>r</ID><Filter/><Status>Enabled</Status><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
            &[("Rule/Expiration/ExpiredObjectDeleteMarker", "true")],
        ),
    ];
    for (what, rule, texts) in rows {
        let mut got = have().all("Rule/ID", ["r"]);
        for (path, text) in texts {
            got = got.all(path, [text]);
        }
        table.case(format!("a rule {what}")).ask(set(&[rule]).gives(200)).ask(got);
    }
}

fn refused(table: &mut Table) {
    let long = format!(
        "<ID>{}</ID><Prefix/><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>",
        "i".repeat(256)
    );
    let rule = |inner: &str| format!("<ID>r</ID><Filter/>{inner}");
    let days = "<Expiration><Days>1</Days></Expiration>";
    let rows = [
        ("a name of 256 letters", long, "InvalidArgument"),
        ("no status", rule(days), "MalformedXML"),
        ("a status in lower case", rule(&format!("<Status>enabled</Status>{days}")), "MalformedXML"),
        ("a status that is none", rule(&format!("<Status>invalid</Status>{days}")), "MalformedXML"),
        (
            "0 days",
            rule("<Status>Enabled</Status><Expiration><Days>0</Days></Expiration>"),
            "InvalidArgument",
        ),
        (
            "-1 days",
            rule("<Status>Enabled</Status><Expiration><Days>-1</Days></Expiration>"),
            "InvalidArgument",
        ),
        (
            "a word for days",
            rule("<Status>Enabled</Status><Expiration><Days>x</Days></Expiration>"),
            "MalformedXML",
        ),
        (
            "a date that is not at midnight",
            rule("<Status>Enabled</Status><Expiration><Date>2027-09-27T19:08:21Z</Date></Expiration>"),
            "InvalidArgument",
        ),
        (
            "a date that is none",
            rule("<Status>Enabled</Status><Expiration><Date>soon</Date></Expiration>"),
            "MalformedXML",
        ),
        (
            "days and a date",
            rule(
                "<Status>Enabled</Status><Expiration><Days>1</Days><Date>2027-09-27T00:00:00Z</Date></Expiration>",
            ),
            "MalformedXML",
        ),
        ("nothing to do", rule("<Status>Enabled</Status>"), "InvalidRequest"),
    ];
    for (what, rule, code) in rows {
        table.case(format!("refused: {what}")).ask(set(&[&rule]).fails(400, code)).ask(none());
    }
    table
        .case("refused: two rules of one name")
        .ask(set(&[DAYS, DAYS]).fails(400, "InvalidArgument"))
        .ask(none());
    table.case("refused: no rule").ask(set(&[]).fails(400, "MalformedXML")).ask(none());
    for (what, body) in
        [("no body", ""), ("no XML", "hello"), ("another document", "<Tagging><TagSet/></Tagging>")]
    {
        table
            .case(format!("refused: {what}"))
            .ask(bucket("PUT", "lifecycle").body(body).md5().fails(400, "MalformedXML"))
            .ask(none());
    }
}

/// When an object ends, as its own answers tell it.
fn told(table: &mut Table) {
    let tagged = "<ID>tagged</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Status>Enabled</Status>\
                  <Expiration><Days>1</Days></Expiration>";
    table
        .case("the end of an object is told")
        .ask(set(&[DAYS]).gives(200))
        .ask(put("logs/a", "x").gives(200).header_holds("x-amz-expiration", "rule-id=\"days\""))
        .ask(put("other", "x").gives(200).lacks("x-amz-expiration"))
        .ask(
            head("logs/a")
                .gives(200)
                .begins("x-amz-expiration", "expiry-date=\"")
                .header_holds("x-amz-expiration", " 00:00:00 GMT\", rule-id=\"days\""),
        )
        .ask(get("logs/a").gives(200).header_holds("x-amz-expiration", "rule-id=\"days\""))
        .ask(head("other").gives(200).lacks("x-amz-expiration"))
        .ask(bucket("DELETE", "lifecycle").gives(204))
        .ask(head("logs/a").gives(200).lacks("x-amz-expiration"));
    table
        .case("the end of an object with a tag is told")
        .ask(set(&[tagged]).gives(200))
        .ask(put("a", "x").with("x-amz-tagging", "k=v").gives(200))
        .ask(put("b", "x").with("x-amz-tagging", "k=w").gives(200))
        .ask(head("a").gives(200).header_holds("x-amz-expiration", "rule-id=\"tagged\""))
        .ask(head("b").gives(200).lacks("x-amz-expiration"));
    table
        .case("a rule that is off tells no end")
        .ask(
            set(&["<ID>off</ID><Filter/><Status>Disabled</Status><Expiration><Days>1</Days></Expiration>"])
                .gives(200),
        )
        .ask(put("a", "x").gives(200).lacks("x-amz-expiration"));
}
