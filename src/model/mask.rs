//! Takes secrets out of any text before somebody else can read it.
//!
//! Promises: account keys, SAS signatures, tokens and passwords are replaced by `***` wherever they stand in a URL, a
//! connection string, JSON or a header line; all other text stays as it was. It never fails, and where it is in doubt it masks
//! too much.

const MASK: &str = "***";

/// Names (lower case, without `-` and `_`) whose value is a secret.
const SECRET_NAMES: &[&str] = &[
    "sig",
    "signature",
    "xamzsignature",
    "xamzsecuritytoken",
    "xgoogsignature",
    "accountkey",
    "storageaccountkey",
    "azurestorageaccountkey",
    "azurestoragekey",
    "sharedkey",
    "masterkey",
    "accesskey",
    "secretaccesskey",
    "awssecretaccesskey",
    "apikey",
    "privatekey",
    "clientsecret",
    "azureclientsecret",
    "clientassertion",
    "assertion",
    "password",
    "passwd",
    "pwd",
    "pass",
    "secret",
    "token",
    "accesstoken",
    "bearertoken",
    "refreshtoken",
    "idtoken",
    "sessiontoken",
];

/// Names whose value is a whole SAS query (`sv=…&sig=…`), so that `&` does not end it.
const SAS_NAMES: &[&str] = &[
    "sas",
    "saskey",
    "sastoken",
    "storagesaskey",
    "storagesastoken",
    "azurestoragesaskey",
    "azurestoragesastoken",
    "sharedaccesssignature",
];

/// Names whose value runs to the end of the line: a scheme, a space, and the secret.
const HEADER_NAMES: &[&str] = &["authorization", "proxyauthorization", "xmscopysourceauthorization"];

/// Words after which, in running text, a credential follows.
const AUTH_SCHEMES: &[&str] = &["bearer", "sharedkey", "sharedkeylite"];

/// The text without its secrets.
pub fn mask(text: &str) -> String {
    let text = mask_url_passwords(text);
    let text = mask_named(&text);
    let text = mask_credentials(&text);
    mask_lone_words(&text)
}

/// `scheme://user:password@host` → `scheme://user:***@host`.
fn mask_url_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c == '/' || ends_value(c)).unwrap_or(after.len());
        let authority = &after[..end];
        match authority.rsplit_once('@').and_then(|(user, host)| user.split_once(':').map(|(name, _)| (name, host))) {
            Some((name, host)) => out.push_str(&format!("{name}:{MASK}@{host}")),
            None => out.push_str(authority),
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

fn ends_value(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | ')' | ']' | '}')
}

/// `name=value`, `name: value`, `"name": "value"` and `name%3Dvalue` where the name is a secret's.
fn mask_named(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((sign, sign_len)) = find_sign(rest) {
        let (before, after) = (&rest[..sign], &rest[sign + sign_len..]);
        let name = name_before(before);
        out.push_str(&rest[..sign + sign_len]);
        let kind = if SECRET_NAMES.contains(&name.as_str()) {
            Kind::Plain
        } else if SAS_NAMES.contains(&name.as_str()) {
            Kind::Sas
        } else if HEADER_NAMES.contains(&name.as_str()) {
            Kind::Header
        } else {
            rest = after;
            continue;
        };
        let (lead, length) = value_extent(after, kind);
        out.push_str(&after[..lead]);
        if length > 0 {
            out.push_str(MASK);
        }
        rest = &after[lead + length..];
    }
    out.push_str(rest);
    out
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Sas,
    Header,
}

/// The next `=`, `:` or `%3D`, and its length.
fn find_sign(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    (0..bytes.len()).find_map(|i| match bytes[i] {
        b'=' | b':' => Some((i, 1)),
        b'%' if bytes.get(i + 1) == Some(&b'3') && matches!(bytes.get(i + 2), Some(b'd' | b'D')) => Some((i, 3)),
        _ => None,
    })
}

/// The identifier that ends `text`, past a closing quote or spaces, in lower case and without `-` and `_`.
fn name_before(text: &str) -> String {
    let text = text.trim_end_matches([' ', '"', '\'', '\\']);
    let start = text
        .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .map_or(0, |i| i + text[i..].chars().next().map_or(1, char::len_utf8));
    let name: String = text[start..].chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    // `…%26sig` in an encoded URL: the `26` belongs to the ampersand
    let encoded = start > 0 && text.as_bytes()[start - 1] == b'%';
    let name = if encoded && name.len() > 2 { &name[2..] } else { &name };
    name.to_ascii_lowercase()
}

/// Where in `text` the value begins and how long it is.
fn value_extent(text: &str, kind: Kind) -> (usize, usize) {
    let spaces = text.len() - text.trim_start_matches([' ', '\\']).len();
    let body = &text[spaces..];
    if let Some(quote) = body.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = &body[1..];
        let length = inner.find(quote).unwrap_or(inner.len());
        return (spaces + 1, length);
    }
    let end = match kind {
        Kind::Header => body.find(['\n', '\r', '"', '\'']),
        Kind::Sas => body.find(|c: char| ends_value(c) || c == ';' || c == ','),
        Kind::Plain => body.find(|c: char| ends_value(c) || matches!(c, ';' | ',' | '&')),
    }
    .unwrap_or(body.len());
    let end = match body[..end].find("%26") {
        Some(ampersand) if kind == Kind::Plain => ampersand,
        _ => end,
    };
    (spaces, end)
}

/// `Bearer token`, `SharedKey account:signature`: all of what follows.
fn mask_credentials(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, length)) = find_credential(rest) {
        out.push_str(&rest[..at]);
        out.push_str(MASK);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}

/// Where what follows the next word of [`AUTH_SCHEMES`] begins, and its length.
fn find_credential(text: &str) -> Option<(usize, usize)> {
    let mut start = 0;
    text.char_indices().filter(|(_, c)| !is_key_char(*c)).find_map(|(i, c)| {
        let word = &text[std::mem::replace(&mut start, i + c.len_utf8())..i];
        if c != ' ' || !AUTH_SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme)) {
            return None;
        }
        let body = text[i..].trim_start_matches(' ');
        let length = body.find(|c: char| ends_value(c) || matches!(c, ';' | ',')).unwrap_or(body.len());
        (length > 0).then_some((text.len() - body.len(), length))
    })
}

/// Words that are a secret by their look: storage account keys, JSON web tokens.
fn mask_lone_words(text: &str) -> String {
    let in_word = |c: char| matches!(c, '.' | '~' | '%') || is_key_char(c);
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c| !in_word(c)) {
        let (word, tail) = piece.split_at(piece.trim_end_matches(|c| !in_word(c)).len());
        out.push_str(if looks_secret(word) { MASK } else { word });
        out.push_str(tail);
    }
    out
}

fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_')
}

fn looks_secret(word: &str) -> bool {
    let word = word.trim_end_matches('.');
    let account_key = word.len() == 88 && word.ends_with("==") && !word.contains('.');
    let web_token = word.starts_with("eyJ") && word.matches('.').count() == 2 && word.len() > 40;
    account_key || web_token
}

#[cfg(test)]
mod tests {
    use super::mask;

    const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    #[test]
    fn secrets_are_removed_from_any_text() {
        let table: &[(&str, &str)] = &[
            (
                "https://a.blob.core.windows.net/c/f.csv?sv=2022-11-02&sp=r&sig=abc%2Bdef%3D&se=2030",
                "https://a.blob.core.windows.net/c/f.csv?sv=2022-11-02&sp=r&sig=***&se=2030",
            ),
            (
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=Zm9v+/bar==;EndpointSuffix=x",
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=***;EndpointSuffix=x",
            ),
            ("account_key 'x' refused", "account_key 'x' refused"),
            ("account_key = 's3cret' refused", "account_key = '***' refused"),
            ("sas_token=sv=2020&sig=abc next", "sas_token=*** next"),
            ("SharedAccessSignature=sv=1&sig=2;Blob=x", "SharedAccessSignature=***;Blob=x"),
            ("Authorization: Bearer abc.def-ghi", "Authorization: ***"),
            ("authorization: SharedKey acct:c2ln\nHost: x", "authorization: ***\nHost: x"),
            ("sent Bearer abcdef123 to host", "sent Bearer *** to host"),
            ("sent SharedKey acct:c2ln, refused", "sent SharedKey ***, refused"),
            ("postgres://joe:hunter2@db/x", "postgres://joe:***@db/x"),
            ("abfss://landing@acme.dfs.core.windows.net/a", "abfss://landing@acme.dfs.core.windows.net/a"),
            ("{\"client_secret\":\"q~w\",\"a\":1}", "{\"client_secret\":\"***\",\"a\":1}"),
            ("{\"access_token\": \"eyJx\"}", "{\"access_token\": \"***\"}"),
            ("{\\\"password\\\":\\\"p\\\"}", "{\\\"password\\\":\\\"***\"}"),
            (
                "url=https%3A%2F%2Fh%2Ff%3Fsv%3D1%26sig%3Dabc%26se%3D2",
                "url=https%3A%2F%2Fh%2Ff%3Fsv%3D1%26sig%3D***%26se%3D2",
            ),
            ("X-Amz-Signature=0a1b&X-Amz-Date=1", "X-Amz-Signature=***&X-Amz-Date=1"),
            ("password: letmein, user: joe", "password: ***, user: joe"),
            ("client-secret=a;b", "client-secret=***;b"),
            ("sig=", "sig="),
        ];
        for (text, wanted) in table {
            assert_eq!(&mask(text), wanted, "masking {text}");
        }
        assert_eq!(mask(&format!("key {KEY} is bad")), "key *** is bad");
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N";
        assert_eq!(mask(&format!("got {token}.")), "got ***");
    }

    #[test]
    fn text_without_secrets_stays_as_it_was() {
        for text in [
            "",
            "file:///var/data/landing/2024-01-01T00:00:00.csv",
            "no such file: /tmp/a=b/c.parquet",
            "größe: 12, Zeile: 3 – ok",
            "signal=9 design=blue",
            "https://a.blob.core.windows.net/c/year=2024/month=01/f.csv",
            "etag \"0x8DC\" sha 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ] {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn masking_twice_changes_nothing_more() {
        let once = mask("x?sig=abc&token=q password='p' Bearer abc");
        assert_eq!(mask(&once), once);
        let once = mask("Bearer abc to SharedKey a:b and others");
        assert_eq!(mask(&once), once);
    }
}
