//! Who a browser thinks it talks to, and for whom.
//!
//! A page of a stranger can reach this machine: by a name of its own that it points at loopback, which shows in `Host`,
//! or openly across origins, which shows in `Origin`. Both are refused unless the settings name them.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header, uri::Authority};
use spatialdb_types::{Error, Reason};

/// What the settings allow beyond this machine's own addresses.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Hosts {
    /// Names by which clients may call this server.
    pub(in crate::server) hosts: Vec<String>,
    /// Origins whose pages may call it, as `https://example.org:8443`.
    pub(in crate::server) origins: Vec<String>,
}

impl Hosts {
    /// # Errors
    /// `HOST_REFUSED`, naming the header, its value and the setting.
    pub(in crate::server) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
        // HTTP/2 has it in the URI.
        let host = match uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => headers.get(header::HOST).and_then(|value| value.to_str().ok()),
        };
        let host = host.unwrap_or_default();
        if !self.is_host(host) {
            return Err(refused("Host", host, "server.hosts"));
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or("?");
        if self.is_origin(origin, host) { Ok(()) } else { Err(refused("Origin", origin, "server.origins")) }
    }

    /// Whether pages of that origin are named by the settings.
    pub(in crate::server) fn is_named_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|named| named.eq_ignore_ascii_case(origin))
    }

    /// An address is never another's name; `localhost` is this machine everywhere.
    fn is_host(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|named| named.eq_ignore_ascii_case(name))
    }

    fn is_origin(&self, origin: &str, host: &str) -> bool {
        let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        own.is_some_and(|own| own.eq_ignore_ascii_case(host)) || self.is_named_origin(origin)
    }
}

fn refused(header: &str, value: &str, setting: &str) -> Error {
    let shown: String = value.chars().take(200).collect();
    Error::new(Reason::HostRefused, format!("{header} {shown:?} is not allowed; {setting} may name it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &Hosts, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a value"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("a value"));
        }
        hosts.check(&Uri::from_static("/"), &headers).is_ok()
    }

    #[test]
    fn only_this_machine_and_named_hosts_pass() {
        let none = Hosts::default();
        for host in ["127.0.0.1:7400", "[::1]:7400", "localhost:7400", "LOCALHOST", "10.1.2.3"] {
            assert!(check(&none, host, None), "{host}");
        }
        for host in ["evil.example:7400", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"] {
            assert!(!check(&none, host, None), "{host}");
        }
        let named = Hosts { hosts: vec!["db.example".to_owned()], ..Hosts::default() };
        assert!(check(&named, "db.example:7400", None));
    }

    #[test]
    fn only_the_same_and_named_origins_pass() {
        let none = Hosts::default();
        assert!(check(&none, "127.0.0.1:7400", Some("http://127.0.0.1:7400")));
        for origin in
            ["null", "http://evil.example", "http://127.0.0.1:7401", "http://127.0.0.1:7400.evil.example"]
        {
            assert!(!check(&none, "127.0.0.1:7400", Some(origin)), "{origin}");
        }
        let named = Hosts { origins: vec!["https://map.example".to_owned()], ..Hosts::default() };
        assert!(check(&named, "127.0.0.1:7400", Some("https://map.example")));
    }
}
