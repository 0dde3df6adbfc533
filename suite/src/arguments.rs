//! What the command line says.

use fallthrough_suite::{Account, Cold, Endpoint, Mode, Selection};

/// Printed on `--help`.
pub(crate) const HELP: &str = "\
Runs the cases of this suite against an S3 endpoint.

  fallthrough-suite --endpoint http://HOST:PORT --access-key ID --secret-key SECRET [...]

  --second-access-key ID --second-secret-key SECRET   another account, for cases with two
  --region NAME        to sign for (us-east-1)
  --group NAME         only this group; may be repeated
  --case TEXT          only cases whose group/name holds this text
  --at-once N          cases at a time (8)
  --list               print the cases instead of running them
  --quiet              print the names of failing cases only, not why they fail

Objects that the bucket under test has yet to fetch (the bucket is made through the admin API of Fallthrough):
  --cold s3|http       put objects behind the bucket; may be repeated
  --plain              besides these, also run with the objects in the bucket
  --cold-endpoint URL --cold-access-key ID --cold-secret-key SECRET   the S3 server where they are put
  --cold-admin URL --cold-admin-token TOKEN   its admin API, if it is Fallthrough; else it must know ACLs
  --admin URL --admin-token TOKEN             the admin API of the server under test
";

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) help: bool,
    pub(crate) list: bool,
    pub(crate) quiet: bool,
    pub(crate) selection: Selection,
    given: Vec<(String, String)>,
}

impl Arguments {
    /// Reads the arguments behind the program's name.
    ///
    /// # Errors
    /// What cannot be understood, for people.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let selection = Selection { groups: Vec::new(), text: None, modes: Vec::new(), at_once: 8 };
        let mut parsed = Self { help: false, list: false, quiet: false, selection, given: Vec::new() };
        let mut plain = false;
        let mut arguments = arguments;
        while let Some(flag) = arguments.next() {
            match flag.as_str() {
                "--help" | "-h" => parsed.help = true,
                "--list" => parsed.list = true,
                "--quiet" => parsed.quiet = true,
                "--plain" => plain = true,
                _ => {
                    let value =
                        arguments.next().ok_or_else(|| format!("{flag} needs a value; see --help"))?;
                    parsed.take(flag, value)?;
                }
            }
        }
        if plain || parsed.selection.modes.is_empty() {
            parsed.selection.modes.insert(0, Mode::Plain);
        }
        Ok(parsed)
    }

    fn take(&mut self, flag: String, value: String) -> Result<(), String> {
        match flag.as_str() {
            "--group" => self.selection.groups.push(value),
            "--case" => self.selection.text = Some(value),
            "--at-once" => {
                self.selection.at_once = value.parse().map_err(|_| format!("{value:?} is no number"))?;
            }
            "--cold" => self.selection.modes.push(match value.as_str() {
                "s3" => Mode::ColdS3,
                "http" => Mode::ColdHttp,
                _ => return Err(format!("{value:?} is no kind of origin: write s3 or http")),
            }),
            "--endpoint"
            | "--access-key"
            | "--secret-key"
            | "--second-access-key"
            | "--second-secret-key"
            | "--region"
            | "--cold-endpoint"
            | "--cold-access-key"
            | "--cold-secret-key"
            | "--cold-admin"
            | "--cold-admin-token"
            | "--admin"
            | "--admin-token" => self.given.push((flag, value)),
            _ => return Err(format!("{flag} is not known; see --help")),
        }
        Ok(())
    }

    fn get(&self, flag: &str) -> Option<&str> {
        self.given.iter().rev().find(|(have, _)| have == flag).map(|(_, value)| value.as_str())
    }

    fn need(&self, flag: &str) -> Result<&str, String> {
        self.get(flag).ok_or_else(|| format!("{flag} is missing; see --help"))
    }

    fn region(&self) -> &str {
        self.get("--region").unwrap_or("us-east-1")
    }

    fn endpoint_of(&self, flag: &str) -> Result<Endpoint, String> {
        Endpoint::parse(self.need(flag)?).map_err(|error| error.to_string())
    }

    /// The server under test.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, String> {
        self.endpoint_of("--endpoint")
    }

    /// Whose buckets the cases use.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn account(&self) -> Result<Account, String> {
        Ok(Account::new(self.need("--access-key")?, self.need("--secret-key")?, self.region()))
    }

    /// Another account, if one is given.
    ///
    /// # Errors
    /// Only one half is given.
    pub(crate) fn second(&self) -> Result<Option<Account>, String> {
        if self.get("--second-access-key").is_none() {
            return Ok(None);
        }
        let secret = self.need("--second-secret-key")?;
        Ok(Some(Account::new(self.need("--second-access-key")?, secret, self.region())))
    }

    /// What is behind the buckets, if something is.
    ///
    /// # Errors
    /// Something is missing or wrong.
    pub(crate) fn cold(&self) -> Result<Option<Cold>, String> {
        if self.get("--cold-endpoint").is_none() {
            return Ok(None);
        }
        let origin_admin = match self.get("--cold-admin") {
            Some(_) => Some((self.endpoint_of("--cold-admin")?, self.need("--cold-admin-token")?.to_owned())),
            None => None,
        };
        let (access_key, secret_key) = (self.need("--cold-access-key")?, self.need("--cold-secret-key")?);
        Ok(Some(Cold {
            origin: self.endpoint_of("--cold-endpoint")?,
            origin_account: Account::new(access_key, secret_key, "us-east-1"),
            origin_admin,
            admin: (self.endpoint_of("--admin")?, self.need("--admin-token")?.to_owned()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn what_is_given_is_taken() {
        let line =
            "--endpoint http://h:1 --access-key a --secret-key s --group x --group y --cold s3 --at-once 3";
        let arguments = parse(line).unwrap();
        assert_eq!(arguments.endpoint().unwrap().authority(), "h:1");
        assert_eq!(arguments.account().unwrap().access_key(), "a");
        assert!(arguments.second().unwrap().is_none() && arguments.cold().unwrap().is_none());
        assert_eq!(arguments.selection.groups, ["x", "y"]);
        assert_eq!(arguments.selection.modes, [Mode::ColdS3]);
        assert_eq!(arguments.selection.at_once, 3);
        assert_eq!(parse("--cold http --plain").unwrap().selection.modes, [Mode::Plain, Mode::ColdHttp]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for line in ["--nonsense x", "--group", "--cold ice", "--at-once many"] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("--endpoint x").unwrap().endpoint().is_err());
        assert!(parse("--second-access-key x").unwrap().second().is_err());
        assert!(parse("--list").unwrap().account().is_err());
    }
}
