//! A place in the lake, as a user writes it, and the text of it that may be shown.
//!
//! Promises: a parsed location is absolute, holds no `..`, no secret and no user name beside a container; [`Location::display`]
//! can be parsed again and gives the same location. It never touches storage, and knows nothing of what is served.

use std::fmt;
use std::path::PathBuf;

use super::{Code, Error, Result, mask};

/// The kinds of storage that are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    File,
    Abfss,
    Abfs,
    Az,
    Azure,
    Adl,
    Wasbs,
    Wasb,
    Https,
    Http,
    S3,
    S3a,
    Gs,
}

impl Scheme {
    const ALL: &[(Scheme, &str)] = &[
        (Scheme::File, "file"),
        (Scheme::Abfss, "abfss"),
        (Scheme::Abfs, "abfs"),
        (Scheme::Az, "az"),
        (Scheme::Azure, "azure"),
        (Scheme::Adl, "adl"),
        (Scheme::Wasbs, "wasbs"),
        (Scheme::Wasb, "wasb"),
        (Scheme::Https, "https"),
        (Scheme::Http, "http"),
        (Scheme::S3, "s3"),
        (Scheme::S3a, "s3a"),
        (Scheme::Gs, "gs"),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(scheme, _)| *scheme == self).map_or("file", |(_, name)| name)
    }

    fn from_name(name: &str) -> Option<Scheme> {
        Self::ALL.iter().find(|(_, known)| name.eq_ignore_ascii_case(known)).map(|(scheme, _)| *scheme)
    }

    /// In `abfss://container@account…` the part before the `@` is no user name.
    fn has_container(self) -> bool {
        matches!(self, Scheme::Abfss | Scheme::Abfs | Scheme::Wasbs | Scheme::Wasb)
    }
}

/// A directory, file or glob pattern in the lake.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Location {
    scheme: Scheme,
    /// `container@account.dfs.core.windows.net`, a host, a bucket; empty for local files.
    authority: String,
    /// The segments before the first one that holds a wildcard, decoded.
    segments: Vec<String>,
    /// The rest, as a glob pattern in which decoded wildcard characters are bracketed.
    pattern: Option<String>,
}

impl Location {
    /// Reads `scheme://authority/path`. The path may be percent-encoded; `*`, `?`, `[…]` and `{…}` that are not encoded are wildcards.
    pub fn parse(text: &str) -> Result<Location> {
        let text = text.trim();
        let bad = |message: &str| {
            Error::new(Code::InvalidParameter, message).detail(format!("location: {}", mask::mask(text)))
        };
        let Some((scheme_name, rest)) = text.split_once("://") else {
            return Err(bad("location is not a URL").hint("Write an absolute URL such as file:///data/landing or abfss://container@account.dfs.core.windows.net/landing."));
        };
        let Some(scheme) = Scheme::from_name(scheme_name) else {
            return Err(bad(&format!("scheme \"{}\" is not known", mask::mask(scheme_name)))
                .hint("Use file, abfss, az, azure, https, s3 or gs."));
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if has_query(rest) {
            return Err(bad("location holds a query string").hint(
                "Leave out everything from the question mark on; put a SAS token in the user mapping of the server.",
            ));
        }
        let authority = check_authority(scheme, authority).map_err(|message| {
            bad(message).hint("Put credentials in the user mapping of the server, never in a location.")
        })?;
        let mut segments = Vec::new();
        let mut pattern: Option<String> = None;
        for raw in path.split('/').filter(|segment| !segment.is_empty()) {
            let segment =
                decode(raw).ok_or_else(|| bad("location is not UTF-8 once its percent-encoding is undone"))?;
            if segment == ".." || segment == "." {
                return Err(bad("location holds a \".\" or \"..\" component").hint("Write the path without it."));
            }
            if segment.contains(['/', '\0', '\n', '\r']) {
                return Err(bad("location holds a character that no path may have"));
            }
            match &mut pattern {
                None if !has_wildcard(raw) => segments.push(segment),
                None => pattern = Some(glob_of(raw)?),
                Some(pattern) => {
                    pattern.push('/');
                    pattern.push_str(&glob_of(raw)?);
                }
            }
        }
        Ok(Location { scheme, authority, segments, pattern })
    }

    /// The directory of an absolute local path, taken literally.
    pub fn from_local_path(path: &std::path::Path) -> Result<Location> {
        let text = path.to_str().ok_or_else(|| {
            Error::new(Code::InvalidParameter, "path is not UTF-8").detail(path.to_string_lossy().into_owned())
        })?;
        if !path.is_absolute() {
            return Err(Error::new(Code::InvalidParameter, "path is not absolute").detail(text.to_owned()));
        }
        Location::parse(&format!("file://{}", text.split('/').map(encode).collect::<Vec<_>>().join("/")))
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The decoded segments of the directory (or file).
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The directory, and what is left as a glob pattern relative to it.
    pub fn split_glob(&self) -> (Location, Option<String>) {
        (Location { pattern: None, ..self.clone() }, self.pattern.clone())
    }

    /// The directory above and the last segment; None at the root and where there is a pattern.
    pub fn split_last(&self) -> Option<(Location, String)> {
        if self.pattern.is_some() {
            return None;
        }
        let (last, above) = self.segments.split_last()?;
        Some((Location { segments: above.to_vec(), ..self.clone() }, last.clone()))
    }

    /// The location one or more segments below this one, taken literally.
    pub fn join(&self, relative: &str) -> Location {
        let mut below = self.split_glob().0;
        below.segments.extend(relative.split('/').filter(|s| !s.is_empty()).map(str::to_owned));
        below
    }

    /// True where `self` is `other` or below it.
    pub fn is_within(&self, other: &Location) -> bool {
        self.scheme == other.scheme
            && self.authority == other.authority
            && other.pattern.is_none()
            && self.segments.starts_with(&other.segments)
    }

    pub fn is_local(&self) -> bool {
        self.scheme == Scheme::File
    }

    /// True for storage in which a file is there before its writer is done with it: Data Lake Storage appends and flushes.
    /// Other object stores show whole objects, and on local disk careful producers rename.
    pub fn may_show_growing_files(&self) -> bool {
        !matches!(self.scheme, Scheme::File | Scheme::S3 | Scheme::S3a | Scheme::Gs)
    }

    /// The path on local disk (of the directory, where there is a pattern).
    pub fn local_path(&self) -> Result<PathBuf> {
        if !self.is_local() {
            return Err(Error::new(Code::Unsupported, format!("scheme \"{}\" is not local", self.scheme.name()))
                .detail(format!("location: {self}")));
        }
        let mut path = PathBuf::from("/");
        path.extend(&self.segments);
        Ok(path)
    }

    /// The location as a URL that holds no secret.
    pub fn display(&self) -> String {
        let mut text = format!("{}://{}/", self.scheme.name(), self.authority);
        let segments: Vec<String> = self.segments.iter().map(|segment| encode(segment)).collect();
        text.push_str(&segments.join("/"));
        if let Some(pattern) = &self.pattern {
            if !segments.is_empty() {
                text.push('/');
            }
            text.push_str(&encode_pattern(pattern));
        }
        text
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display())
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({})", self.display())
    }
}

/// A `?` followed by `name=value` is a query; alone it is a wildcard.
fn has_query(rest: &str) -> bool {
    rest.split_once('?').is_some_and(|(_, after)| {
        let first = after.split(['&', '/']).next().unwrap_or("");
        first.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        })
    })
}

fn check_authority(scheme: Scheme, authority: &str) -> Result<String, &'static str> {
    if scheme == Scheme::File {
        return match authority {
            "" | "localhost" => Ok(String::new()),
            _ => Err("a file location names a host; write three slashes before the path"),
        };
    }
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    match user {
        Some(user) if !scheme.has_container() || user.contains([':', '@']) => {
            Err("location holds a user name or password")
        }
        Some("") => Err("location names no container"),
        _ if authority.is_empty() => Err("location names no account, host or bucket"),
        _ if authority.contains(|c: char| c.is_whitespace() || c.is_control() || "*?[]{}%\\\"".contains(c)) => {
            Err("the account, host or bucket of the location holds a character that it may not have")
        }
        _ => Ok(authority.to_owned()),
    }
}

const WILDCARDS: &[char] = &['*', '?', '[', '{'];

fn has_wildcard(raw: &str) -> bool {
    raw.contains(WILDCARDS)
}

fn hex(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

/// One encoded byte at the start of `bytes`.
fn encoded_byte(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b'%', high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

/// Undoes percent-encoding; a `%` that is not followed by two hexadecimal digits stands for itself.
pub fn decode(raw: &str) -> Option<String> {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match encoded_byte(&bytes[at..]) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// A raw segment as a glob: wildcard characters that were percent-encoded are bracketed, so that they match themselves.
fn glob_of(raw: &str) -> Result<String> {
    let bytes = raw.as_bytes();
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match encoded_byte(&bytes[at..]) {
            Some(byte) => {
                if matches!(byte, b'*' | b'?' | b'[' | b']' | b'{' | b'}') {
                    out.extend([b'[', byte, b']']);
                } else {
                    out.push(byte);
                }
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out)
        .map_err(|_| Error::new(Code::InvalidParameter, "location is not UTF-8 once its percent-encoding is undone"))
}

/// Encodes what would otherwise be read back as something else.
fn encode(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for c in segment.chars() {
        if c.is_control()
            || matches!(
                c,
                ' ' | '%' | '?' | '#' | '*' | '[' | ']' | '{' | '}' | '"' | '\\' | '<' | '>' | '|' | '^' | '`'
            )
        {
            push_encoded(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

/// The same of a glob pattern, whose wildcards stay: what an equals sign behind a question mark would begin is a query.
fn encode_pattern(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut asked = false;
    for c in pattern.chars() {
        asked |= c == '?';
        if c.is_control() || c.is_whitespace() || c == '%' || (asked && c == '=') {
            push_encoded(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

fn push_encoded(out: &mut String, c: char) {
    let mut buffer = [0; 4];
    for byte in c.encode_utf8(&mut buffer).bytes() {
        out.push_str(&format!("%{byte:02X}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Location {
        Location::parse(text).unwrap()
    }

    #[test]
    fn a_local_path_may_be_encoded_and_hold_spaces() {
        for text in ["file:///data/my%20files/a", "file:///data/my files/a/", "file://localhost/data//my%20files/a"] {
            assert_eq!(parse(text).local_path().unwrap(), PathBuf::from("/data/my files/a"));
            assert_eq!(parse(text).display(), "file:///data/my%20files/a");
        }
        assert_eq!(parse("file:///100%.csv").local_path().unwrap(), PathBuf::from("/100%.csv"));
        assert_eq!(parse("file:///").local_path().unwrap(), PathBuf::from("/"));
    }

    #[test]
    fn wildcards_split_off_as_a_pattern_below_the_directory() {
        let table = [
            ("file:///a/b/*.csv", "file:///a/b", Some("*.csv")),
            ("file:///a/y=*/x.csv", "file:///a", Some("y=*/x.csv")),
            ("file:///a/b?.csv", "file:///a", Some("b?.csv")),
            ("file:///a/{x,y}.csv", "file:///a", Some("{x,y}.csv")),
            ("file:///a/%2A.csv", "file:///a/%2A.csv", None),
            ("file:///a/%5B*.csv", "file:///a", Some("[[]*.csv")),
            ("abfss://c@acct.dfs.core.windows.net/t/**", "abfss://c@acct.dfs.core.windows.net/t", Some("**")),
            ("az://container", "az://container/", None),
        ];
        for (text, directory, pattern) in table {
            let (found, glob) = parse(text).split_glob();
            assert_eq!((found.display().as_str(), glob.as_deref()), (directory, pattern), "{text}");
        }
    }

    #[test]
    fn what_is_displayed_parses_to_the_same_location() {
        for text in [
            "file:///a/b c/%25/%2A/ü/*.csv",
            "file:///a/%5B*.csv",
            "https://a.blob.core.windows.net/c/d",
            "s3://bucket/k",
            "file:///a%23b",
            "file:///e%25aE?",
            "file:///*/%20",
            "file:///a?b%3Dc",
        ] {
            assert_eq!(parse(&parse(text).display()), parse(text), "{text}");
        }
        let odd = std::path::Path::new("/a/[x] {y}*?%20#.csv");
        assert_eq!(Location::from_local_path(odd).unwrap().local_path().unwrap(), odd);
    }

    #[test]
    fn what_cannot_be_trusted_is_refused() {
        for text in [
            "data/landing",
            "/data/landing",
            "file://host/data",
            "file:///data/../etc",
            "file:///data/%2e%2E/etc",
            "file:///data/a%2Fb",
            "ftp://x/y",
            "https://joe:pw@host/c",
            "abfss://c:key@acct.dfs.core.windows.net/",
            "s3://key@bucket/x",
            "https://a.blob.core.windows.net/c?sv=1&sig=abc",
            "abfss:///x",
            "file:///a/%FF",
        ] {
            let error = Location::parse(text).unwrap_err();
            assert_eq!(error.code, Code::InvalidParameter, "{text}");
        }
    }

    #[test]
    fn an_error_about_a_location_never_shows_its_secret() {
        for text in
            ["https://a.blob.core.windows.net/c?sv=1&sig=TOPSECRET", "https://joe:TOPSECRET@host/c", "x?sig=TOPSECRET"]
        {
            let error = Location::parse(text).unwrap_err();
            assert!(!format!("{error:?}").contains("TOPSECRET"), "{error:?}");
        }
    }

    #[test]
    fn one_location_lies_within_another() {
        let root = parse("file:///data");
        assert!(parse("file:///data/x/*.csv").is_within(&root));
        assert!(!parse("file:///database/x").is_within(&root));
        assert!(!parse("az://data/x").is_within(&root));
    }
}
