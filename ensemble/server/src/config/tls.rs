//! What a port speaks, and with which key, by ZooKeeper's names: `ssl.quorum.*` for the admin port (`JettyAdminServer.java`), `metricsProvider.ssl.*`
//! for the metrics port (`PrometheusMetricsProvider.java` of ZooKeeper 3.10).
//!
//! Stores are PEM files, as ZooKeeper reads them: the private key and the certificates behind it in one file, the certificates that are trusted in another.

use super::settings::Endpoint;
use super::values::Values;
use super::{ConfigError, Note};
use rustls::crypto::ring::ALL_CIPHER_SUITES;
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use std::path::{Path, PathBuf};

/// An HTTP port: where it is, and what it speaks.
#[derive(Clone, Debug)]
pub struct HttpPort {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// What it speaks.
    pub scheme: Scheme,
    /// The key that says its number.
    pub key: &'static str,
}

/// What is spoken on a port.
#[derive(Clone, Debug)]
pub enum Scheme {
    /// Plain HTTP alone.
    Http,
    /// HTTP over TLS alone.
    Https(Tls),
    /// Either, by the first byte of a connection.
    Either(Tls),
}

/// Keys and certificates, and what may be agreed on.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Holds the private key and the certificates behind it.
    pub key_store: PathBuf,
    /// Holds the certificates that sign those of clients; there is one where `client_auth` asks for certificates.
    pub trust_store: Option<PathBuf>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Versions of TLS, not empty.
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// Cipher suites, not empty.
    pub cipher_suites: Vec<SupportedCipherSuite>,
    /// What the names of these keys begin with, for messages.
    pub prefix: &'static str,
    /// The key that says `key_store`, for messages.
    pub key_store_key: &'static str,
    /// The key that says `trust_store`, for messages.
    pub trust_store_key: &'static str,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They are asked; one that they show must be trusted.
    Want,
    /// Who has none that is trusted is refused.
    Need,
}

/// The names of one family of keys.
struct Names {
    prefix: &'static str,
    key_store: &'static str,
    key_store_type: &'static str,
    trust_store: &'static str,
    trust_store_type: &'static str,
    protocols: &'static str,
    cipher_suites: &'static str,
}

const QUORUM: Names = Names {
    prefix: "ssl.quorum.",
    key_store: "ssl.quorum.keyStore.location",
    key_store_type: "ssl.quorum.keyStore.type",
    trust_store: "ssl.quorum.trustStore.location",
    trust_store_type: "ssl.quorum.trustStore.type",
    protocols: "ssl.quorum.enabledProtocols",
    cipher_suites: "ssl.quorum.ciphersuites",
};

const METRICS: Names = Names {
    prefix: "metricsProvider.ssl.",
    key_store: "metricsProvider.ssl.keyStore.location",
    key_store_type: "metricsProvider.ssl.keyStore.type",
    trust_store: "metricsProvider.ssl.trustStore.location",
    trust_store_type: "metricsProvider.ssl.trustStore.type",
    protocols: "metricsProvider.ssl.enabledProtocols",
    cipher_suites: "metricsProvider.ssl.ciphersuites",
};

const PEM_ONLY: &str = "a PEM file. Make one with `openssl pkcs12 -in STORE.p12 -nodes -out STORE.pem`; of a JKS file first a PKCS12 one with \
     `keytool -importkeystore -srckeystore STORE.jks -destkeystore STORE.p12 -deststoretype pkcs12`";

/// What the admin port speaks. `admin.forceHttps` counts before `admin.portUnification`, as in ZooKeeper.
pub(super) fn admin(values: &Values, notes: &mut Vec<Note>) -> Result<Scheme, ConfigError> {
    let client_auth = match values.flag("admin.needClientAuth", false)? {
        true => ClientAuth::Need,
        false => ClientAuth::None,
    };
    let (is_forced, is_unified) =
        (values.flag("admin.forceHttps", false)?, values.flag("admin.portUnification", false)?);
    if is_forced {
        return Ok(Scheme::Https(QUORUM.read(values, client_auth, "admin.forceHttps needs it", notes)?));
    }
    if is_unified {
        return Ok(Scheme::Either(QUORUM.read(values, client_auth, "admin.portUnification needs it", notes)?));
    }
    match client_auth {
        ClientAuth::None => Ok(Scheme::Http),
        ClientAuth::Want | ClientAuth::Need => Err(ConfigError::Conflict(
            "admin.needClientAuth: needs admin.forceHttps or admin.portUnification: there are no certificates in plain HTTP".into(),
        )),
    }
}

/// The metrics ports. Without a port of either kind, plain HTTP on 7000; both kinds on one port are told apart by the first byte.
///
/// Differs from ZooKeeper: who gives two ports has both, where `PrometheusMetricsProvider` goes on with the second alone.
pub(super) fn metrics(values: &Values, host: &str, notes: &mut Vec<Note>) -> Result<Vec<HttpPort>, ConfigError> {
    const PLAIN: &str = "metricsProvider.httpPort";
    const SECURE: &str = "metricsProvider.httpsPort";
    let secure = port(values, SECURE, -1)?;
    let plain = port(values, PLAIN, if secure.is_some() { -1 } else { 7000 })?;
    let at = |port, scheme, key| HttpPort { endpoint: Endpoint { host: host.to_owned(), port }, scheme, key };
    let Some(secure) = secure else {
        return match plain {
            Some(plain) => Ok(vec![at(plain, Scheme::Http, PLAIN)]),
            None => Err(values.wrong(PLAIN, "a port, which there must be without metricsProvider.httpsPort")),
        };
    };
    let (needs, wants) = (
        values.flag("metricsProvider.ssl.need.client.auth", true)?,
        values.flag("metricsProvider.ssl.want.client.auth", true)?,
    );
    let is_trusting = values.text(METRICS.trust_store).is_some();
    let client_auth = match (needs, wants && is_trusting) {
        (true, _) => ClientAuth::Need,
        (false, true) => ClientAuth::Want,
        (false, false) => ClientAuth::None,
    };
    let tls = METRICS.read(values, client_auth, "metricsProvider.httpsPort needs it", notes)?;
    Ok(match plain {
        Some(plain) if plain == secure && plain != 0 => vec![at(plain, Scheme::Either(tls), PLAIN)],
        Some(plain) => vec![at(plain, Scheme::Http, PLAIN), at(secure, Scheme::Https(tls), SECURE)],
        None => vec![at(secure, Scheme::Https(tls), SECURE)],
    })
}

/// A port; `None` for -1, which is no port.
fn port(values: &Values, key: &str, default: i32) -> Result<Option<u16>, ConfigError> {
    let given = values.number(key, default, -1, i32::from(u16::MAX), "a port between 0 and 65535, or -1 for none")?;
    Ok(u16::try_from(given).ok())
}

impl Names {
    /// `why` a key store must be there.
    fn read(
        &self,
        values: &Values,
        client_auth: ClientAuth,
        why: &'static str,
        notes: &mut Vec<Note>,
    ) -> Result<Tls, ConfigError> {
        let key_store = store(values, self.key_store, self.key_store_type)?;
        let trust_store = store(values, self.trust_store, self.trust_store_type)?;
        if client_auth != ClientAuth::None && trust_store.is_none() {
            let why = "clients must show certificates, and it says which are trusted";
            return Err(ConfigError::Missing { key: self.trust_store, why });
        }
        Ok(Tls {
            key_store: key_store.ok_or(ConfigError::Missing { key: self.key_store, why })?,
            trust_store,
            client_auth,
            versions: versions(values, self.protocols)?,
            cipher_suites: cipher_suites(values, self.cipher_suites, notes)?,
            prefix: self.prefix,
            key_store_key: self.key_store,
            trust_store_key: self.trust_store,
        })
    }
}

/// The file of a store. Its type is the one that is said, or the one of its name; a name that says nothing is taken for PEM.
fn store(values: &Values, location: &str, kind: &str) -> Result<Option<PathBuf>, ConfigError> {
    if values.text(kind).is_some_and(|kind| !kind.eq_ignore_ascii_case("PEM")) {
        return Err(values.wrong(kind, PEM_ONLY));
    }
    let Some(path) = values.text(location) else { return Ok(None) };
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("jks" | "p12" | "pfx" | "pkcs12" | "bcfks") if values.text(kind).is_none() => {
            Err(values.wrong(location, PEM_ONLY))
        }
        _ => Ok(Some(PathBuf::from(path))),
    }
}

/// `TLSv1.2` and `TLSv1.3`. Differs from ZooKeeper: older ones are refused.
fn versions(values: &Values, key: &str) -> Result<Vec<&'static SupportedProtocolVersion>, ConfigError> {
    let Some(text) = values.text(key) else { return Ok(vec![&TLS13, &TLS12]) };
    text.split(',')
        .map(|name| match name.trim() {
            "TLSv1.2" => Ok(&TLS12),
            "TLSv1.3" => Ok(&TLS13),
            _ => Err(values.wrong(key, "TLSv1.2, TLSv1.3, or both with a comma between them")),
        })
        .collect()
}

/// Differs from ZooKeeper: of a list, what this server does not have is left out, and said; what is left must be something.
fn cipher_suites(values: &Values, key: &str, notes: &mut Vec<Note>) -> Result<Vec<SupportedCipherSuite>, ConfigError> {
    let Some(text) = values.text(key) else { return Ok(ALL_CIPHER_SUITES.to_vec()) };
    let names: Vec<_> = text.split(',').map(str::trim).collect();
    let chosen: Vec<_> = ALL_CIPHER_SUITES.iter().filter(|suite| names.contains(&&*name(suite))).copied().collect();
    if chosen.is_empty() {
        return Err(values.wrong(key, "a list of cipher suites with one that this server has: those of TLS 1.3, and of TLS 1.2 those with ECDHE and \
             GCM or CHACHA20"));
    }
    let missing: Vec<_> =
        names.into_iter().filter(|wanted| !chosen.iter().any(|suite| name(suite) == *wanted)).collect();
    if !missing.is_empty() {
        notes.push(Note::harmless(key, format!("left out, as this server does not have them: {}", missing.join(", "))));
    }
    Ok(chosen)
}

/// The name of a cipher suite in Java and in the standards; rustls marks those of TLS 1.3.
fn name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}

#[cfg(test)]
mod tests {
    use super::super::{Note, Settings, no_other_file, parse};
    use super::*;

    fn settings(text: &str) -> Result<(Settings, Vec<Note>), String> {
        let mut notes = Vec::new();
        let settings = parse(&format!("dataDir=/d\n{text}"), &[], None, no_other_file, &mut notes);
        settings.map(|settings| (settings, notes)).map_err(|error| error.to_string())
    }

    /// A port and what it speaks, or the error.
    fn ports(text: &str) -> String {
        let (settings, _) = match settings(text) {
            Ok(settings) => settings,
            Err(error) => return error,
        };
        let show = |port: &HttpPort| {
            let (scheme, tls) = match &port.scheme {
                Scheme::Http => ("http", None),
                Scheme::Https(tls) => ("https", Some(tls)),
                Scheme::Either(tls) => ("either", Some(tls)),
            };
            let tls = tls.map(|tls| format!(" {:?} {}", tls.client_auth, tls.key_store.display()));
            format!("{}:{} {scheme}{}", port.endpoint.host, port.endpoint.port, tls.unwrap_or_default())
        };
        let admin = settings.admin.iter().map(|admin| show(&admin.port));
        let metrics = settings.metrics.iter().flat_map(|metrics| &metrics.ports).map(show);
        admin.chain(metrics).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_ports_speak_is_said_as_in_zookeeper() {
        const STORES: &str = "ssl.quorum.keyStore.location=/k.pem\nssl.quorum.trustStore.location=/t.crt\n";
        const METRICS: &str =
            "admin.enableServer=false\nmetricsProvider.httpsPort=7001\nmetricsProvider.ssl.keyStore.location=/k.pem\n";
        const TRUST: &str = "metricsProvider.ssl.trustStore.location=/t.pem\n";
        const UNASKED: &str = "metricsProvider.ssl.need.client.auth=false\n";
        for (text, expected) in [
            ("", "0.0.0.0:8080 http, 0.0.0.0:7000 http"),
            (STORES, "0.0.0.0:8080 http, 0.0.0.0:7000 http"),
            (&format!("{STORES}admin.forceHttps=true"), "0.0.0.0:8080 https None /k.pem, 0.0.0.0:7000 http"),
            (
                &format!("{STORES}admin.portUnification=true\nadmin.needClientAuth=true"),
                "0.0.0.0:8080 either Need /k.pem, 0.0.0.0:7000 http",
            ),
            (
                &format!("{STORES}admin.portUnification=true\nadmin.forceHttps=true"),
                "0.0.0.0:8080 https None /k.pem, 0.0.0.0:7000 http",
            ),
            ("admin.forceHttps=true", "ssl.quorum.keyStore.location is missing: admin.forceHttps needs it"),
            (
                "admin.needClientAuth=true",
                "admin.needClientAuth: needs admin.forceHttps or admin.portUnification: there are no certificates in plain HTTP",
            ),
            (
                "admin.portUnification=true\nadmin.needClientAuth=true\nssl.quorum.keyStore.location=/k.pem",
                "ssl.quorum.trustStore.location is missing: clients must show certificates, and it says which are trusted",
            ),
            (&format!("{METRICS}{TRUST}"), "0.0.0.0:7001 https Need /k.pem"),
            (&format!("{METRICS}{TRUST}{UNASKED}"), "0.0.0.0:7001 https Want /k.pem"),
            (&format!("{METRICS}{UNASKED}"), "0.0.0.0:7001 https None /k.pem"),
            (
                &format!("{METRICS}{TRUST}{UNASKED}metricsProvider.ssl.want.client.auth=false"),
                "0.0.0.0:7001 https None /k.pem",
            ),
            (
                METRICS,
                "metricsProvider.ssl.trustStore.location is missing: clients must show certificates, and it says which are trusted",
            ),
            (
                &format!("{METRICS}{UNASKED}metricsProvider.httpPort=7000\nmetricsProvider.httpHost=[::1]"),
                "::1:7000 http, ::1:7001 https None /k.pem",
            ),
            (&format!("{METRICS}{UNASKED}metricsProvider.httpPort=7001"), "0.0.0.0:7001 either None /k.pem"),
            (
                "metricsProvider.httpPort=-1",
                "metricsProvider.httpPort (line 2): \"-1\" is not a port, which there must be without metricsProvider.httpsPort",
            ),
        ] {
            assert_eq!(ports(text), expected, "{text:?}");
        }
    }

    #[test]
    fn stores_are_pem_files() {
        for (text, is_refused) in [
            ("/k.jks", true),
            ("/k.P12", true),
            ("/k.jks\nssl.quorum.keyStore.type=PEM", false),
            ("/k.pem\nssl.quorum.keyStore.type=PKCS12", true),
            ("/tls.combined", false),
        ] {
            let found = ports(&format!("admin.forceHttps=true\nssl.quorum.keyStore.location={text}"));
            assert_eq!(found.contains("openssl pkcs12") && found.contains("keytool"), is_refused, "{text}: {found}");
        }
    }

    #[test]
    fn protocols_and_cipher_suites_are_chosen_by_their_names() {
        let chosen = |text: &str| {
            let text = format!("admin.forceHttps=true\nssl.quorum.keyStore.location=/k\n{text}");
            let (settings, notes) = settings(&text)?;
            let notes: Vec<_> = notes.into_iter().map(|note| note.text).collect();
            match settings.admin.map(|admin| admin.port.scheme) {
                Some(Scheme::Https(tls)) => Ok((tls.versions, tls.cipher_suites, notes.join(" "))),
                scheme => Err(format!("{scheme:?}")),
            }
        };
        let (versions, suites, _) = chosen("").unwrap();
        assert_eq!((versions, suites), (vec![&TLS13, &TLS12], ALL_CIPHER_SUITES.to_vec()));
        let (versions, suites, notes) = chosen(
            "ssl.quorum.enabledProtocols=TLSv1.2\nssl.quorum.ciphersuites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384,TLS_RSA_WITH_AES_128_CBC_SHA",
        )
        .unwrap();
        let names: Vec<_> = suites.iter().map(name).collect();
        assert_eq!(
            (versions, names),
            (
                vec![&TLS12],
                vec!["TLS_AES_256_GCM_SHA384".to_owned(), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned(),]
            )
        );
        assert_eq!(notes, "left out, as this server does not have them: TLS_RSA_WITH_AES_128_CBC_SHA");
        for text in
            ["ssl.quorum.enabledProtocols=TLSv1.1,TLSv1.2", "ssl.quorum.ciphersuites=TLS_RSA_WITH_AES_128_CBC_SHA"]
        {
            let (key, _) = text.split_once('=').unwrap();
            assert!(chosen(text).unwrap_err().starts_with(&format!("{key} (line 4): ")), "{text}");
        }
    }
}
