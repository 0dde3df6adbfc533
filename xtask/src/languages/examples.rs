//! Which examples there are, how each is started and asked, and what it has to show.

/// How a file becomes a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Node,
    Go,
    Php,
    Bash,
}

impl Language {
    /// The program that runs it, and Debian's package of it.
    pub(super) fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::Python => ("python3", "python3"),
            Self::Node => ("node", "nodejs"),
            Self::Go => ("go", "golang-go"),
            Self::Php => ("php", "php-cli"),
            Self::Bash => ("bash", "bash"),
        }
    }

    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Go => "go",
            Self::Php => "php",
            Self::Bash => "bash",
        }
    }

    /// What bash has not: a way to listen.
    pub(super) fn also(self) -> Option<&'static str> {
        (self == Self::Bash).then_some("socat")
    }
}

/// What a run of `origin test` must come to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// Nothing fails, and these checks are made and hold.
    Keeps(&'static [&'static str]),
    /// The key that exists cannot be had, and this is the status. It is never 404.
    Says(&'static str),
}

/// One run of one example.
#[derive(Debug)]
pub(super) struct Example {
    pub(super) name: &'static str,
    pub(super) language: Language,
    pub(super) file: &'static str,
    /// What stands before the port on its command line, in the folder that `Ground` made.
    pub(super) argument: Option<&'static str>,
    /// Variables, as they are or, if the flag is set, as a path in the folder that `Ground` made.
    pub(super) environment: &'static [(&'static str, &'static str, bool)],
    /// What `origin test` is told.
    pub(super) options: &'static [&'static str],
    pub(super) expected: Expected,
}

const HELLO: &[&str] = &["--missing-key", "nobody"];
const HELLO_KEEPS: Expected = Expected::Keeps(&[
    "get",
    "body",
    "head",
    "missing",
    "missing-head",
    "odd-keys",
    "decoding",
    "concurrent",
]);
/// A file whose name is easily mangled.
pub(super) const FILE: &str = "notes/\u{e4} b%2F+.txt";
const FILES: &[&str] = &["--key", FILE, "--missing-key", "nobody", "--big-key", "large.bin"];
const FILES_KEEP: Expected = Expected::Keeps(&[
    "get",
    "body",
    "again",
    "head",
    "conditional",
    "missing",
    "odd-keys",
    "decoding",
    "big",
]);

pub(super) const EXAMPLES: &[Example] = &[
    hello("python/hello.py", Language::Python, "hello.py"),
    Example {
        options: &[
            "--bucket",
            "avatars",
            "--key",
            "Ada Lovelace \u{1f600}.svg",
            "--impossible-key",
            "no.png",
        ],
        expected: Expected::Keeps(&["digests", "again", "head", "conditional", "impossible", "decoding"]),
        ..hello("python/avatar_svg.py", Language::Python, "avatar_svg.py")
    },
    Example {
        environment: &[("ORIGIN_ACCESS_KEY", "AKPY", false), ("ORIGIN_SECRET_KEY", SECRET, false)],
        options: &["--access-key", "AKPY", "--missing-key", "nobody"],
        expected: Expected::Keeps(&["get", "head", "missing", "query", "odd-keys", "decoding", "signature"]),
        ..hello("python/signed.py", Language::Python, "signed.py")
    },
    hello("node/hello.mjs", Language::Node, "hello.mjs"),
    Example {
        argument: Some("tree.zip"),
        options: FILES,
        expected: FILES_KEEP,
        ..hello("node/zip.mjs", Language::Node, "zip.mjs")
    },
    hello("go/hello.go", Language::Go, "hello.go"),
    Example {
        options: &["--key", "600x200/3,1,4,-1.5.png", "--impossible-key", "600x200/three.png"],
        expected: Expected::Keeps(&["digests", "again", "head", "conditional", "impossible", "decoding"]),
        ..hello("go/chart.go", Language::Go, "chart.go")
    },
    hello("php/hello.php", Language::Php, "hello.php"),
    Example {
        environment: &[("FOLDER", "tree", true)],
        options: FILES,
        expected: FILES_KEEP,
        ..hello("php/folder.php", Language::Php, "folder.php")
    },
    Example {
        environment: &[("FOLDER", "unmounted", true)],
        options: FILES,
        expected: Expected::Says("503"),
        ..hello("php/folder.php, not mounted", Language::Php, "folder.php")
    },
    hello("bash/hello.sh", Language::Bash, "hello.sh"),
    Example {
        environment: &[("REPOSITORY", "tree", true)],
        options: &[
            "--key",
            "v1.0.0.tar.gz",
            "--missing-key",
            "v9.9.9.tar.gz",
            "--impossible-key",
            "v1.0.0.zip",
            "--failing-key",
            "damaged.tar.gz",
        ],
        expected: Expected::Keeps(&[
            "get",
            "again",
            "head",
            "conditional",
            "missing",
            "impossible",
            "failure",
        ]),
        ..hello("bash/releases.sh", Language::Bash, "releases.sh")
    },
    Example {
        environment: &[("REPOSITORY", "unmounted", true)],
        options: &["--key", "v1.0.0.tar.gz"],
        expected: Expected::Says("503"),
        ..hello("bash/releases.sh, not mounted", Language::Bash, "releases.sh")
    },
];

const fn hello(name: &'static str, language: Language, file: &'static str) -> Example {
    let (argument, environment): (Option<&str>, &[_]) = (None, &[]);
    Example { name, language, file, argument, environment, options: HELLO, expected: HELLO_KEEPS }
}

/// A secret with what is escaped in URLs.
pub(super) const SECRET: &str = "a+secret/with=signs";
