//! The page's HTML. One file, read from top to bottom as the reader sees it.

use maud::{DOCTYPE, Markup, html};

use super::Tiers;
use super::describe::{Description, HashKind, TEXT_BYTES_MAX};

/// Where the reader is and what stands behind it.
pub(super) struct Here<'a> {
    /// Scheme and host by which the reader came.
    pub(super) base: String,
    /// The tiers below.
    pub(super) tiers: &'a Tiers,
}

/// Texts to try, one press each.
const EXAMPLES: &[&str] = &["otter", "lighthouse", "42", "Montag, 7 Uhr", "déjà vu"];

/// How many requests the button sends. `script.js` reads it from the page.
const BURST: usize = 50;

/// The whole page for one description.
pub(super) fn page(here: &Here<'_>, description: &Description) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Fallthrough: type anything" }
                link rel="icon" href="/_demo/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/_demo/style.css";
                script src="/_demo/script.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the page" }
                header.top {
                    a.brand href="/_demo" {
                        img src="/_demo/icon.svg" alt="" width="28" height="28";
                        "Fallthrough"
                    }
                    span.tag { "demo" }
                }
                main #main {
                    (ask(description))
                    div.stage {
                        (answer(description))
                        (tiers(here, description))
                    }
                    (burst(here))
                    (links(here, description))
                }
                footer {
                    p { "Bucket, avatar origin and image model are three servers in one process. Nothing on this page comes from elsewhere." }
                }
            }
        }
    }
}

fn ask(description: &Description) -> Markup {
    html! {
        section.ask {
            h1 { "Type anything. " span.accent { "Watch it fall through." } }
            p.lead {
                "A bucket that does not have your avatar asks what is behind it, streams the answer to you, and keeps it. Ask again: now it is here."
            }
            form #ask action="/_demo" method="get" {
                label for="text" { "Your text" }
                div.row {
                    input #text name="text" type="text" value=(description.text) maxlength=(TEXT_BYTES_MAX)
                        autocomplete="off" autocapitalize="off" spellcheck="false" enterkeyhint="go";
                    button.primary #show type="submit" { "Show" }
                }
                fieldset.kinds {
                    legend.quiet { "Key of the avatar" }
                    @for (kind, value, name) in [(HashKind::Md5, "md5", "MD5"), (HashKind::Sha256, "sha256", "SHA-256")] {
                        label {
                            input type="radio" name="hash" value=(value) checked[description.kind == kind];
                            (name)
                        }
                    }
                }
            }
            p.examples {
                span { "Try " }
                @for example in EXAMPLES {
                    a.chip data-text=(example) href={ "/_demo?" (query(example)) } { (example) }
                }
            }
        }
    }
}

fn query(text: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair("text", text).finish()
}

/// The picture and what the bucket said about it. The script fills in the second half.
fn answer(description: &Description) -> Markup {
    html! {
        section.answer aria-label="Avatar" {
            div.frame #frame {
                noscript { img src=(description.path) alt={ "Avatar of " (description.text) } width="256" height="256"; }
                img #avatar hidden alt="" width="256" height="256";
                p.placeholder #placeholder hidden { }
            }
            p.verdict role="status" aria-live="polite" {
                span #cache.badge data-cache="" hidden { }
                span #took { }
            }
            button #again type="button" hidden { "Again" }
            p.verdict.earlier #earlier { }
            noscript { p.quiet { "Without JavaScript you see the avatar, but not whether it was a MISS or a HIT: that stands in the X-Cache header." } }
        }
    }
}

fn tiers(here: &Here<'_>, description: &Description) -> Markup {
    html! {
        ol.tiers #tiers aria-label="The three tiers" {
            li.tier data-tier="1" {
                h2 { span.number { "1" } "Bucket " code { "avatar" } }
                p.part #part-1 { "Looks for the key; asks further only if it is not here." }
                dl.hashes {
                    div { dt { "MD5" } dd { code #md5 { (description.md5) } } }
                    div { dt { "SHA-256" } dd { code #sha256 { (description.sha256) } } }
                    div #hashed-row hidden[description.hashed == description.text] {
                        dt { "of" } dd { code #hashed { (description.hashed) } }
                    }
                }
            }
            li.tier data-tier="2" {
                h2 { span.number { "2" } "Avatar origin" }
                p.part #part-2 { "Each digit of the key chooses a trait." }
                ul.traits #traits {
                    @for trait_ in &description.traits {
                        li { span.name { (trait_.name) } " " span.value { (trait_.value) } }
                    }
                }
                p.where { "S3 GetObject, signed · " code { (here.tiers.origin) } }
            }
            li.tier data-tier="3" {
                h2 { span.number { "3" } "Image model" }
                p.part #part-3 { "Draws what the prompt says; the seed makes it the same every time." }
                dl.prompts {
                    div { dt { "Prompt" } dd #prompt { (description.prompt) } }
                    div { dt { "Without" } dd #negative { (description.negative_prompt) } }
                    div { dt { "Seed" } dd { code #seed { (description.seed) } } }
                }
                p.where { "txt2img, " (here.tiers.engine) " · " code { (here.tiers.model) } }
            }
        }
    }
}

fn burst(here: &Here<'_>) -> Markup {
    let terminal = format!(
        "curl -s --parallel --parallel-immediate --parallel-max {BURST} -o /dev/null -w '%header{{x-cache}}\\n' \
         \"{}/avatar/$(openssl rand -hex 16)?[1-{BURST}]\" | sort | uniq -c",
        here.base
    );
    html! {
        section.card aria-labelledby="burst-title" {
            div.split {
                div {
                    h2 #burst-title { "Everybody at once" }
                    p { (BURST) " requests for one avatar that nobody has asked for. The first starts the fill, the others join it, late ones find it here." }
                    button #burst type="button" data-count=(BURST) hidden { "Send " (BURST) " requests" }
                }
                div {
                    div.dots #dots aria-hidden="true" { @for _ in 0..BURST { i {} } }
                    p.big #burst-calls role="status" aria-live="polite" { }
                    p.counts #burst-counts { }
                }
            }
            details {
                summary { "In a terminal, all of them truly at the same moment" }
                p.quiet { "A browser keeps six connections to a server open, so the others wait in the browser. curl opens all of them." }
                (copyable("burst-curl", "Command", &terminal))
            }
        }
    }
}

fn links(here: &Here<'_>, description: &Description) -> Markup {
    let url = format!("{}{}", here.base, description.path);
    html! {
        section.card aria-labelledby="links-title" {
            h2 #links-title { "Take it with you" }
            p { "It is an ordinary object in an ordinary bucket. Anything that speaks HTTP or S3 can have it." }
            (copyable("link-url", "URL", &url))
            (copyable("link-curl", "curl", &format!("curl -so avatar.jpg -w '%header{{x-cache}} %{{time_total}} s\\n' '{url}'")))
            (copyable("link-s3", "S3", &format!(
                "aws s3 cp --no-sign-request --endpoint-url {} s3://avatar/{}/256.jpg avatar.jpg", here.base, description.key,
            )))
        }
    }
}

/// A line to copy. Without a script it can be selected; the button comes with the script.
fn copyable(id: &str, name: &str, text: &str) -> Markup {
    html! {
        div.copyable {
            span.name { (name) }
            code id=(id) tabindex="0" { (text) }
            button.copy type="button" data-copy=(id) aria-label={ "Copy " (name) } hidden { "Copy" }
        }
    }
}
