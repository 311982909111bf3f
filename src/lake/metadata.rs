//! Addresses at which a machine in a cloud asks who it is: nobody's storage, and full of secrets.
//!
//! Promises: no request that a user's words can steer goes there: not by an address in an option, not by a name that resolves to one, not by
//! a redirect. Only the client of a managed identity asks there, at the address that the storage library or `identity_endpoint` names.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use url::{Host, Url};

/// Redirects that are followed one after the other.
const MAX_REDIRECTS: usize = 5;

/// True for link-local addresses and those that clouds use in their stead.
pub(super) fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => of_v6(address),
    }
}

fn of_v4(address: Ipv4Addr) -> bool {
    address.is_link_local() || [[168, 63, 129, 16], [100, 100, 100, 200]].contains(&address.octets())
}

fn of_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let embedded = Ipv4Addr::from((u32::from(parts[6]) << 16) | u32::from(parts[7]));
    let holds_v4 = parts[..5] == [0; 5] && matches!(parts[5], 0 | 0xffff) || parts[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    address.is_unicast_link_local() || parts == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] || holds_v4 && of_v4(embedded)
}

/// True where a URL names such an address itself.
pub(super) fn names_metadata(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => of_v4(address),
        Some(Host::Ipv6(address)) => of_v6(address),
        _ => false,
    }
}

fn refused(what: &str) -> io::Error {
    let words = format!("{what} leads to a link-local address, where machines keep their credentials");
    io::Error::new(io::ErrorKind::PermissionDenied, words)
}

/// Resolves names as the machine does, and refuses those that lead to a forbidden address.
pub(super) struct Resolver {
    pub(super) forbidden: fn(IpAddr) -> bool,
}

impl Resolver {
    pub(super) fn new() -> Arc<Resolver> {
        Arc::new(Resolver { forbidden: is_metadata })
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let forbidden = self.forbidden;
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            match found.iter().any(|address| forbidden(address.ip())) {
                true => Err(refused("the name of the host").into()),
                false => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

/// Follows redirects as far as they may go.
pub(super) fn redirects() -> Policy {
    Policy::custom(|attempt| match attempt.previous().len() > MAX_REDIRECTS {
        true => attempt.error(io::Error::other("there are too many redirects")),
        false if names_metadata(attempt.url()) => attempt.error(refused("a redirect")),
        false => attempt.follow(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn the_addresses_of_metadata_services_are_known_however_they_are_written() {
        for host in [
            "169.254.169.254",
            "169.254.170.2",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "168.63.129.16",
            "100.100.100.200",
            "[fe80::1]",
            "[febf::1]",
            "[fd00:ec2::254]",
            "[::ffff:169.254.169.254]",
            "[::169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
        ] {
            assert!(names_metadata(&Url::parse(&format!("http://{host}/")).unwrap()), "{host}");
        }
        for host in ["127.0.0.1", "10.0.0.1", "169.253.1.1", "[::1]", "[fd00::1]", "[2001:db8::1]", "acme.example"] {
            assert!(!names_metadata(&Url::parse(&format!("http://{host}/")).unwrap()), "{host}");
        }
    }

    /// A server that answers each request with a redirect.
    async fn redirecting(to: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = connection.read(&mut request).await;
                let _ = connection.write_all(answer.as_bytes()).await;
            }
        });
        format!("http://{address}/")
    }

    fn client(forbidden: fn(IpAddr) -> bool) -> reqwest::Client {
        let resolver = Arc::new(Resolver { forbidden });
        reqwest::Client::builder().no_proxy().redirect(redirects()).dns_resolver(resolver).build().unwrap()
    }

    fn words(error: &reqwest::Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }

    #[tokio::test]
    async fn neither_a_redirect_nor_a_name_leads_to_a_forbidden_address() {
        let away = redirecting("http://169.254.169.254/latest/meta-data/").await;
        let error = client(is_metadata).get(&away).send().await.unwrap_err();
        assert!(words(&error).contains("a redirect leads to a link-local address"), "{}", words(&error));
        // A name that every machine knows stands in for one that resolves to a metadata service.
        let named = redirecting("http://localhost:9/").await;
        let error = client(|ip| ip.is_loopback()).get(&named).send().await.unwrap_err();
        assert!(words(&error).contains("the name of the host leads to"), "{}", words(&error));
        let error = client(is_metadata).get(&named).send().await.unwrap_err();
        assert!(!words(&error).contains("leads to"), "{}", words(&error));
    }
}
