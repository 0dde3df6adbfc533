//! Every key that settings may have: its type, default, meaning, and when to touch it.
//!
//! This table is the one place that knows the names. Unknown keys are found with it, environment variables
//! are matched with it, defaults come from it, and `docs/config.md` is printed from it.

use fallthrough_object::Provider;

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name, in kebab case.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) shape: Shape,
    /// What holds if it is not set, as it would be written; empty: nothing.
    pub(crate) default: &'static str,
    /// What is not offered yet.
    pub(crate) later: Later,
    /// What it does and when to touch it, in sentences.
    pub(crate) doc: &'static str,
}

/// What a key takes.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A value, described in a word or two for the documentation.
    Value(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A table with these keys.
    Table(&'static [Key]),
    /// Tables named by the user; what such a name is called.
    Named(&'static str, &'static [Key]),
    /// A list of tables.
    List(&'static [Key]),
    /// A table, or a list of such tables.
    TableOrList(&'static [Key]),
}

/// Which values are understood but cannot be had yet. They are refused, never ignored.
#[derive(Debug)]
pub(crate) enum Later {
    /// All can be had.
    Offered,
    /// All but the values given cannot; what to do meanwhile.
    Only(&'static [&'static str], &'static str),
}

impl Key {
    const fn value(name: &'static str, what: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self { name, shape: Shape::Value(what), default, later: Later::Offered, doc }
    }

    const fn choice(
        name: &'static str,
        words: &'static [&'static str],
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, shape: Shape::Choice(words), default, later: Later::Offered, doc }
    }

    const fn section(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self { name, shape, default: "", later: Later::Offered, doc }
    }

    const fn only(mut self, values: &'static [&'static str], meanwhile: &'static str) -> Self {
        self.later = Later::Only(values, meanwhile);
        self
    }
}

impl Shape {
    /// The keys of the tables that it takes, if any.
    pub(crate) fn keys(&self) -> Option<&'static [Key]> {
        match self {
            Self::Value(_) | Self::Choice(_) => None,
            Self::Table(keys) | Self::Named(_, keys) | Self::List(keys) | Self::TableOrList(keys) => {
                Some(keys)
            }
        }
    }
}

/// All sections.
pub(crate) const ROOT: &[Key] = &[
    Key::section("s3", Shape::Table(S3), "The listener that S3 clients talk to."),
    Key::section(
        "admin",
        Shape::Table(ADMIN),
        "The listener for whoever looks after the server: admin API, `/metrics`, `/livez`, `/readyz`, \
         `/openapi.json`.",
    ),
    Key::section("store", Shape::Table(STORE), "Where entries and blobs are kept."),
    Key::section("fill", Shape::Table(FILL), "How misses are filled from what is behind a bucket."),
    Key::section("network", Shape::Table(NETWORK), "Where requests to origins may go."),
    Key::section("process", Shape::Table(PROCESS), "The process itself."),
    Key::section(
        "account",
        Shape::List(ACCOUNT),
        "Declared accounts, each with one access key; the first is root and owns the declared buckets. What belongs to \
         the account that was made at the first start goes to it. Without \
         any, a root account and its key are made at the first start and kept in the data folder.",
    ),
    Key::section(
        "model",
        Shape::Named("model", MODEL),
        "Image models that avatar origins draw with (tier 3), each under a name of its own.",
    ),
    Key::section(
        "origin",
        Shape::Named("origin", ORIGIN),
        "Origins that buckets fall through to (tier 2), each under a name of its own.",
    ),
    Key::section(
        "route",
        Shape::List(ROUTE),
        "Addresses of your own: requests for a host, or for a path of it, are served from a bucket, or from what is under \
         a prefix in it. Only reads of objects; who may read is decided as ever. If the bucket has a website \
         configuration, its index and error documents are served. Taken over by a reload.",
    ),
    Key::section(
        "bucket",
        Shape::Named("bucket", BUCKET),
        "Managed buckets (tier 1): they are made at start, follow this file at every start and reload, and are \
         read-only elsewhere. A bucket that is no longer declared stays, with its objects, and can then be changed \
         through the admin API.",
    ),
];

const S3: &[Key] = &[
    Key::value(
        "listen",
        "address:port",
        "0.0.0.0:9900",
        "Where S3 clients connect. Port 0 picks a free one; the ready file tells which.",
    ),
    Key::value(
        "domains",
        "list of names",
        "[]",
        "Names under which buckets are addressed in virtual-host style (`bucket.s3.example.com`). \
         `*.localhost` and path style always work.",
    ),
    Key::value(
        "website-domains",
        "list of names",
        "[]",
        "Names under which public buckets are served as websites (`bucket.web.example.com`): anonymous reads, with the \
         index and error documents of the bucket's website configuration. `*.s3-website.localhost` always works.",
    ),
    Key::value("region", "name", "us-east-1", "The region that buckets are said to be in."),
    Key::value(
        "signing-region",
        "name",
        "",
        "The only region that requests may be signed for. Without it any is accepted: many clients have one of their \
         own, such as `US` or `aws-global`.",
    ),
    Key::value(
        "presigned-v2",
        "true or false",
        "true",
        "Whether presigned URLs of signature version 2 are accepted, for GET, HEAD, PUT and DELETE of single objects and \
         PUT of parts. boto3 makes them unless it is told otherwise. Such a URL has no longest life. Requests signed so \
         in their headers are never accepted.",
    ),
    Key::value(
        "max-connections",
        "count",
        "4096",
        "Connections open at once; one more is answered 503 SlowDown with Retry-After and closed. It bounds memory: an \
         idle connection costs up to 96 KiB, a slow reader up to 400 KiB with the kernel's buffers, a slow writer up \
         to 1 MiB. Lower it on a small machine. Each needs two open files: their limit is raised at start as far as \
         it goes, and where that is too low for this number, fewer connections are taken, with a warning.",
    ),
    Key::section(
        "tls",
        Shape::Table(TLS),
        "Certificate and key of the S3 listener, which then speaks TLS 1.2 and 1.3 and nothing else. Both files are read \
         again when they change; connections that are open go on. What cannot be used is told of in the log, and the \
         old certificate stays.",
    ),
];

const TLS: &[Key] = &[
    Key::value("cert", "path", "", "The certificate chain, PEM, the listener's own certificate first."),
    Key::value(
        "key",
        "path",
        "",
        "Its private key, PEM, not encrypted. Readable by this user alone is best.",
    ),
];

const ADMIN: &[Key] = &[
    Key::value(
        "listen",
        "address:port",
        "127.0.0.1:9901",
        "Where the admin API and the metrics are. Keep it on loopback or on a network of your own: the token \
         travels unencrypted.",
    ),
    Key::value(
        "token",
        "text",
        "",
        "The bearer token of the admin API. For the environment; in a file use `token-file`.",
    ),
    Key::value(
        "token-file",
        "path",
        "",
        "A file with the bearer token. Without it one is made at the first start and kept as `admin-token` in \
         the data folder, readable by its owner only.",
    ),
];

const STORE: &[Key] = &[
    Key::value(
        "data",
        "path",
        "fallthrough-data",
        "The folder of everything that is kept. One server at a time may use it.",
    ),
    Key::value(
        "sealing-key",
        "text",
        "",
        "Encrypts the secrets in the data folder: those of access keys, and the credentials of shadows. At least 32 \
         characters, as `openssl rand -hex 32` makes them. For the environment; in a file use `sealing-key-file`. Keep it \
         apart from the data folder and its backups, and keep it: without it the folder cannot be opened. The files \
         `root-key.json` and `admin-token`, made where no account and no token are declared, are not encrypted.",
    ),
    Key::value("sealing-key-file", "path", "", "A file with the sealing key."),
    Key::value(
        "old-sealing-key",
        "text",
        "",
        "The sealing key that was used until now, to change or to remove it: at the start everything is encrypted \
         with `sealing-key`, or not at all if there is none.",
    ),
    Key::value("old-sealing-key-file", "path", "", "A file with it."),
    Key::value("metadata", "text", "embedded", "The engine of the metadata; `embedded` needs nothing else.")
        .only(&["embedded"], "leave it at \"embedded\""),
    Key::value(
        "cache-limit",
        "size",
        "",
        "The most that copies may hold together, of all buckets in the modes `cache` and `compute`. Above it those are \
         evicted that were used least; they are fetched again when somebody asks for them. Each counts 512 bytes \
         besides its own. What clients wrote, and what `migrate` has copied, is never evicted and does not count. \
         Without it, copies are kept as long as the disk has space: see `low-space-stop-fills`.",
    ),
    Key::value(
        "blocks-limit",
        "size",
        "0",
        "The most that blocks of ranges may hold together, of all buckets. A range of what is not here, of an \
         origin that can seek, is kept in blocks of 4 MiB and answers the next one. In `cache` blocks count \
         against `cache-limit` besides, and go before copies do; in `migrate` this is their only limit. `0` keeps \
         none: ranges are passed on. New, and therefore off unless it is set: what is known to be missing stands at \
         the end of semantics.md.",
    ),
    Key::value(
        "promote-per-minute",
        "size",
        "256MiB",
        "Where half of an object's blocks are here, the rest is fetched, behind all clients, if it fits so many bytes \
         a minute over all buckets; then the object is one like any other. `0`: an object becomes whole when the last \
         of its blocks was asked for.",
    ),
    Key::value(
        "low-space-stop-fills",
        "size",
        "1GiB",
        "When less than this is free on the disk, fills are passed on to clients without being kept; below a quarter \
         of it (at most 256 MiB) writes are refused with 503, so that deletes and reads go on. `0` turns it off.",
    ),
    Key::value(
        "scrub-rate",
        "size",
        "8MiB",
        "How much the scrubber reads per second when it compares what is kept with its checksums, in the background. \
         At 8 MiB a terabyte takes a day and a half. `0` turns the background passes off; \
         `fallthrough doctor scrub` then runs as fast as the disk.",
    ),
    Key::value(
        "scrub-every",
        "duration",
        "7d",
        "From the start of one background pass of the scrubber to the start of the next.",
    ),
];

const FILL: &[Key] = &[
    Key::value(
        "client-wait",
        "duration",
        "25s",
        "Longest wait of a client for its first byte; then it gets 503 SlowDown with Retry-After, and the fill \
         goes on. Keep it below the read timeout of clients (boto3's is 60 s).",
    ),
    Key::value(
        "stall",
        "duration",
        "10s",
        "Longest silence of an origin in mid-body before the fill is resumed over another connection.",
    ),
    Key::value(
        "max-in-flight",
        "count",
        "256",
        "Requests in flight per origin, whatever they are for. Lower it to protect a weak origin; more wait in a queue.",
    ),
    Key::value(
        "queue",
        "count",
        "1024",
        "Requests that may wait per origin; beyond that clients get 503 SlowDown.",
    ),
    Key::value(
        "per-client",
        "count",
        "64",
        "Requests in flight per client and origin. Readers who join a fill are never counted.",
    ),
    Key::value(
        "budget",
        "rate",
        "",
        "Requests per origin in a stretch of time, such as `100/s`, `60/min` or `10000/day`: so many at once, and so many \
         again in each. Who is over it waits for up to a minute, or is answered 503 SlowDown with the time to come back. \
         No bound if not given.",
    ),
    Key::value(
        "client-budget",
        "rate",
        "",
        "Of those, the ones that one client may cause: an access key, or an address that does not sign. Hits, and readers \
         who join a fill, cost nothing.",
    ),
    Key::value(
        "negative-ttl",
        "duration",
        "30s",
        "How long an origin's \"not found\" is believed, where neither the origin nor the rule says otherwise.",
    ),
];

const NETWORK: &[Key] = &[Key::value(
    "allow-private-origins",
    "true or false",
    "false",
    "Loopback and private addresses may be origins. Off, so that nobody who may set a shadow can \
     reach your inner network through it; turn it on when your origins are there. Cloud metadata addresses are \
     never allowed.",
)];

const PROCESS: &[Key] = &[
    Key::value(
        "grace",
        "duration",
        "10s",
        "How long requests and fills in progress may go on after SIGINT or SIGTERM.",
    ),
    Key::value(
        "log",
        "text",
        "info",
        "What is logged to standard error: a level (`error warn info debug trace`), also per part, such as \
         `info,fallthrough_bucket=debug`.",
    ),
];

const ROUTE: &[Key] = &[
    Key::value("host", "name", "", "The host, without scheme and port. Required."),
    Key::value(
        "path",
        "path",
        "/",
        "Only paths that begin so; `/` at both ends. The longest that fits counts.",
    ),
    Key::value("bucket", "name", "", "The bucket. Required."),
    Key::value("prefix", "text", "", "Put in front of what follows `path` to make the key."),
    Key::value(
        "clean-urls",
        "true or false",
        "false",
        "`/about` shows `about.html` where there is no object `about`.",
    ),
];

const ACCOUNT: &[Key] = &[
    Key::value("id", "text", "", "The account's id; it owns buckets and keys. Required."),
    Key::value("display-name", "text", "", "The name that lists of buckets show; the id if not given."),
    Key::value("email", "text", "", "An address, for tools that grant by it."),
    Key::value("access-key", "text", "", "The id of its access key. Required."),
    Key::value("secret-key", "text", "", "The secret half. Better kept in a file of its own."),
    Key::value("secret-key-file", "path", "", "A file with the secret half. One of the two is required."),
];

const MODEL: &[Key] = &[
    Key::choice(
        "kind",
        &["painter", "txt2img", "candle"],
        "",
        "`painter` draws without weights, in milliseconds; `txt2img` asks a Stable Diffusion web UI or \
         `fallthrough model serve`; `candle` runs Stable Diffusion in this process, in a build with the feature \
         `candle`. Required.",
    ),
    Key::value(
        "weights",
        "path",
        "",
        "`candle`: the folder with the model's weights, in diffusers' layout, tokenizer included. Read and hashed when \
         the model is started.",
    ),
    Key::value(
        "url",
        "URL or list",
        "",
        "`txt2img`: the server's address. Several are a pool: a picture is asked of the one that will have it first, and \
         of another one if that one fails.",
    ),
    Key::value(
        "checkpoint",
        "text",
        "",
        "`txt2img`: the checkpoint to ask for, as `/sdapi/v1/sd-models` names it; none: whichever is loaded. Answers of \
         another one are refused.",
    ),
    Key::value(
        "hedge",
        "true or false",
        "false",
        "`txt2img`: a picture that takes three times as long as it should is asked of an idle server as well. Costs \
         work that is done twice.",
    ),
    Key::value("user", "text", "", "`txt2img`: the user for HTTP Basic."),
    Key::value("password", "text", "", "`txt2img`: the password for HTTP Basic."),
    Key::value("password-file", "path", "", "`txt2img`: a file with the password."),
    Key::value(
        "concurrency",
        "count",
        "1",
        "Jobs in flight per backend. A graphics card does one at a time.",
    ),
    Key::value("queue", "count", "64", "Jobs that may wait; beyond that clients get 503 with Retry-After."),
];

const ORIGIN: &[Key] = &[
    Key::choice(
        "kind",
        &["avatar", "http", "s3"],
        "",
        "`avatar`: the built-in avatar origin; `http`: a server that answers GET with the key appended to its \
         URL; `s3`: a bucket at an S3 provider, or a program that speaks S3. Required.",
    ),
    Key::value(
        "model",
        "name",
        "",
        "`avatar`: the model to draw with; without one, and without `url`, the painter.",
    ),
    Key::choice(
        "style",
        &["portrait", "critter"],
        "portrait",
        "`avatar` without `model` and `url`: what the painter draws, people or animals. Buckets with origins of their own have \
         styles of their own.",
    ),
    Key::value("url", "URL", "", "`http`: the server. `avatar`: an avatar origin that runs elsewhere."),
    PROVIDER,
    Key::value("endpoint", "URL", "", "`s3`: `http(s)://host[:port]`; from `provider` if not given."),
    Key::value(
        "name",
        "text",
        "",
        "`s3`: the bucket there. `avatar` with `url`: the same, `avatar` if not given.",
    ),
    Key::value(
        "region",
        "text",
        "",
        "`s3`: the region to sign for; from `provider`, or `us-east-1`, if not given.",
    ),
    ADDRESSING,
    S3_CREDENTIALS,
    Key::value("per-client", "count", "", "Fills in flight per client; `fill.per-client` if not given."),
    Key::value("max-in-flight", "count", "", "Fills in flight; `fill.max-in-flight` if not given."),
];

const PROVIDER: Key = Key::choice(
    "provider",
    &Provider::NAMES,
    "",
    "An S3 provider by name: gives `endpoint`, `region` and `addressing` where they are known and not given. `r2` and \
     `minio` need the endpoint, `backblaze` the region.",
);

const ADDRESSING: Key = Key::choice(
    "addressing",
    &["path", "virtual-host"],
    "",
    "Whether the bucket is named in the path or in the host's name; from `provider`, or `path`, if not given.",
);

const CREDENTIALS: &str = "What to sign with: `profile:NAME` (a profile of the AWS credentials file), `env:PREFIX_` \
     (the variables `PREFIX_ACCESS_KEY_ID` and `PREFIX_SECRET_ACCESS_KEY`) or `file:PATH` (a file of that format, \
     its default profile). Anonymous if not given. Never inline.";

/// The keys of what stands in front of a bucket.
const FRONT: &[Key] = &[
    Key::choice(
        "kind",
        &["gravatar"],
        "",
        "`gravatar`: `/BUCKET/HASH` with `s`, `d`, `f`, `r` and a suffix, as Gravatar and Libravatar answer it. Required.",
    ),
    Key::choice(
        "default",
        &["gen", "404", "mp", "identicon", "retro", "blank", "monsterid"],
        "gen",
        "What is shown for an address without `d`: `gen` is what the origin makes of the hash.",
    ),
    Key::value(
        "sizes",
        "list of counts",
        "",
        "The sides, in pixels, that pictures are kept in: some of 32, 80, 128, 256, 512, 1024; all if not given. Other sizes \
         are made of the next larger one when they are asked for. Each one is a picture for the model to make: with a slow \
         one, keep a single size.",
    ),
    Key::value(
        "redirect-hosts",
        "list of names",
        "",
        "Hosts that `d=URL` may lead to, exactly as named. None: such a `d` is ignored.",
    ),
    Key::value(
        "own-pictures",
        "true or false",
        "false",
        "Objects under `own/HASH` are people's own pictures: they come first, cut square and in the size asked for, unless \
         the address says `f=y`.",
    ),
    Key::value(
        "patience",
        "duration",
        "",
        "How long people wait for a picture before they are shown a placeholder with Retry-After, while the fill goes on; \
         `fill.client-wait` if not given. Requests that are signed wait on.",
    ),
];

const BUCKET: &[Key] = &[
    Key::choice(
        "mode",
        &["plain", "migrate", "cache", "compute"],
        "",
        "`plain`: no shadow. `migrate`: what is here wins for ever. `cache`: the origin wins, copies grow stale. \
         `compute`: the origin is a function of the key. Without it: `plain` without a shadow, else `migrate`.",
    ),
    Key::choice("public", &["none", "read"], "none", "`read`: everybody may GET and HEAD objects."),
    Key::choice(
        "public-fill",
        &["budget", "signed", "open"],
        "budget",
        "Who may cause fills on a public bucket: anyone within a budget, only signed requests, or anyone.",
    ),
    Key::value(
        "cache-limit",
        "size",
        "",
        "The most that this bucket's copies may hold, in the modes `cache` and `compute`, within the store's \
         `cache-limit`. `0` keeps none.",
    ),
    Key::value(
        "quota",
        "size",
        "",
        "The most that clients may write to this bucket; a write above it is refused with 403 QuotaExceeded. Copies of \
         what is at the origin do not count, nor do parts of uploads that are not complete.",
    ),
    Key::section(
        "front",
        Shape::Table(FRONT),
        "What stands in front of a bucket of avatars: one address for each hash, whatever its spelling, size and format, \
         and few objects behind it. Only for reads.",
    ),
    Key::section(
        "shadow",
        Shape::TableOrList(SHADOW),
        "What the bucket falls through to: one rule as a table, several as an array of tables, asked in order. A \
         rule leads to an `origin` by name, to an S3 bucket (`endpoint` and `name`), or to an HTTP server (`url`).",
    ),
];

/// A place that a rule leads to, its own and each further one, is said with these.
const ORIGIN_NAME: Key = Key::value("origin", "name", "", "A declared origin.");
const S3_ENDPOINT: Key = Key::value(
    "endpoint",
    "URL",
    "",
    "An S3 provider: `http(s)://host[:port]`; from `provider` if not given.",
);
const S3_NAME: Key = Key::value("name", "text", "", "The bucket at the S3 provider.");
const S3_REGION: Key = Key::value(
    "region",
    "text",
    "",
    "The region to sign for; from `provider`, or `us-east-1`, if not given.",
);
const S3_CREDENTIALS: Key = Key::value("credentials", "reference", "", CREDENTIALS);
const HTTP_URL: Key = Key::value("url", "URL", "", "An HTTP server: the key is appended.");

/// The keys of a further place of a rule.
pub(crate) const MEMBER: &[Key] =
    &[ORIGIN_NAME, PROVIDER, S3_ENDPOINT, S3_NAME, S3_REGION, ADDRESSING, S3_CREDENTIALS, HTTP_URL];

/// The keys of one shadow rule.
pub(crate) const SHADOW: &[Key] = &[
    ORIGIN_NAME,
    PROVIDER,
    S3_ENDPOINT,
    S3_NAME,
    S3_REGION,
    ADDRESSING,
    S3_CREDENTIALS,
    HTTP_URL,
    Key::section(
        "members",
        Shape::List(MEMBER),
        "Further places that have the same objects, of the same kind as the rule's own, at most 7: other endpoints of a \
         provider, replicas, a pool of programs. The one that will answer soonest is asked, by what it has to do and how \
         fast it was; what it cannot answer is asked of another. What is written goes to the rule's own place, which is \
         listed first, too.",
    ),
    Key::value("prefix", "text", "", "Only keys with this prefix."),
    Key::value("suffix", "text", "", "Only keys with this suffix."),
    Key::value(
        "matches",
        "regular expression",
        "",
        "Only keys that match; others are left to the rules that follow.",
    ),
    Key::value(
        "keys",
        "regular expression",
        "",
        "Of this rule's keys, only those that match can exist; the others are refused before any queue.",
    ),
    Key::value(
        "key",
        "text",
        "{key}",
        "How the origin's key is made from ours: text with `{key}`, or with `{rest}` for what follows `prefix`.",
    ),
    Key::value(
        "edition",
        "text",
        "",
        "`compute`: the name under which results belong together. Another edition makes every key a miss.",
    ),
    Key::value("ttl", "duration", "", "`cache`: how long a copy is fresh where the origin does not say."),
    Key::value(
        "negative-ttl",
        "duration",
        "",
        "How long \"not found\" is believed; `fill.negative-ttl` if not given.",
    ),
    Key::choice(
        "treat-403-as",
        &["error", "absent"],
        "error",
        "`absent` for providers that hide missing keys behind 403 from callers without the right to list.",
    ),
    Key::choice(
        "list",
        &["merged", "local"],
        "",
        "Whether LIST shows the shadow's keys as well. `merged` in `migrate` and `cache`, `local` in `compute`.",
    ),
    Key::value(
        "seekable",
        "true or false",
        "",
        "Whether the origin can be asked for ranges: yes for S3 and HTTP, no for programs, if not given.",
    ),
    Key::value(
        "pass-query",
        "list of names",
        "",
        "Query parameters of clients' reads that are passed on to an HTTP server or a program, such as `w`; at most 16. What is \
         kept is the answer to the key alone: a read with one of them always asks the origin, and its answer is not kept. \
         Never S3's own parameters, nor what belongs to signatures.",
    ),
    Key::value(
        "pass-headers",
        "list of names",
        "",
        "Headers of clients' reads that are passed on in the same way, such as `accept-language`; answers of such a rule have \
         them in `Vary`. Never credentials, conditions, or what is between this store and the origin.",
    ),
    Key::value(
        "passed-alike",
        "true or false",
        "false",
        "The origin's object is the same whatever is passed on: it is kept, and read from here, as if nothing were. Wrong \
         where it is not: then one client is given what was made for another.",
    ),
    Key::value("per-client", "count", "", "Fills in flight per client."),
    Key::value("max-in-flight", "count", "", "Fills in flight to this origin."),
    Key::value(
        "budget",
        "rate",
        "",
        "Requests in a stretch of time, such as `100/s`; `fill.budget` if not given.",
    ),
    Key::value(
        "client-budget",
        "rate",
        "",
        "Of those, the ones that one client may cause; `fill.client-budget` if not given.",
    ),
    Key::choice(
        "write-through",
        &["off", "async", "sync"],
        "off",
        "Whether what is written here is written to an S3 shadow as well, in mode `migrate`: `async` after it is \
         acknowledged, `sync` before.",
    ),
    Key::value(
        "delete-through",
        "true or false",
        "false",
        "Whether what is deleted here is deleted at an S3 shadow as well, in mode `migrate`.",
    ),
    Key::choice(
        "write-conflict",
        &["fail", "local", "origin"],
        "fail",
        "What happens to a change if somebody else has changed the object at the shadow: it waits for a decision, it \
         overwrites what is there, or it is given up here.",
    ),
    Key::value(
        "inventory",
        "duration",
        "",
        "An inventory of the S3 shadow's list is kept here, and LIST is answered from it for so long after it was begun, \
         also while the shadow is down. It is taken again at half of that. What others change at the shadow is listed with \
         the next one. At least a minute; none is kept if not given.",
    ),
    Key::value(
        "inventory-absent",
        "true or false",
        "false",
        "GET and HEAD of keys that the inventory does not have are 404 without asking the shadow. Only where nobody else \
         writes there: a key that is put there is not seen before the next inventory.",
    ),
];

/// A whole example, printed into the documentation and read by a test.
pub(crate) const EXAMPLE: &str = include_str!("example.toml");

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(keys: &'static [Key], path: &str) {
        for key in keys {
            let path = format!("{path}.{}", key.name);
            assert!(
                key.name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'),
                "{path}"
            );
            assert!(key.doc.ends_with('.'), "{path} is described in whole sentences");
            if let Shape::Choice(words) = key.shape {
                assert!(key.default.is_empty() || words.contains(&key.default), "{path}");
            }
            walk(key.shape.keys().unwrap_or_default(), &path);
        }
    }

    #[test]
    fn every_key_is_described_and_every_default_is_a_choice() {
        walk(ROOT, "");
    }
}
