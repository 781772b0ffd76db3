//! TLS on the admin port and the metrics ports, with certificates that are made for each test.

use crate::admin::get;
use crate::client::{exchange, open};
use crate::world::{PATIENCE, Server, wait_for};
use ensemble_server::exit;
use rcgen::{BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// A private key and its certificate, in one text.
    fn issue(&self, usage: ExtendedKeyUsagePurpose) -> String {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        key.serialize_pem() + &params.signed_by(&key, &self.issuer).unwrap().pem()
    }
}

/// A directory with the stores of a server, and what its clients need.
struct Stores {
    directory: TempDir,
    authority: Authority,
}

impl Stores {
    fn new() -> Stores {
        let stores = Stores { directory: tempfile::tempdir().unwrap(), authority: Authority::new() };
        std::fs::write(stores.key(), stores.authority.issue(ExtendedKeyUsagePurpose::ServerAuth)).unwrap();
        std::fs::write(stores.trust(), stores.authority.certificate.pem()).unwrap();
        stores
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn key(&self) -> PathBuf {
        self.file("key.pem")
    }

    fn trust(&self) -> PathBuf {
        self.file("trust.pem")
    }

    /// Lines of `zoo.cfg`; `prefix` is that of the keys.
    fn lines(&self, prefix: &str) -> String {
        let (key, trust) = (self.key(), self.trust());
        format!("{prefix}keyStore.location={}\n{prefix}trustStore.location={}\n", key.display(), trust.display())
    }

    /// `GET`, by a client that trusts this authority and shows `certificate`.
    fn get(&self, address: SocketAddr, path: &str, certificate: Option<&str>) -> io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
            }
        };
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, open(address)?);
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn is_ok(answer: &io::Result<String>) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 OK"))
}

/// A counter of the metrics port, over whatever it speaks.
fn counter(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
    line.parse().unwrap()
}

#[test]
fn the_admin_port_may_take_tls_alone() {
    let stores = Stores::new();
    let server = Server::standalone(&format!("admin.forceHttps=true\n{}", stores.lines("ssl.quorum.")));
    let answer = stores.get(server.admin_port(), "/commands/ruok", None);
    assert!(is_ok(&answer) && answer.as_ref().is_ok_and(|text| text.contains("\"command\" : \"ruok\"")), "{answer:?}");
    let plain = exchange(server.admin_port(), b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!plain.contains("HTTP/"), "{plain:?}");
    wait_for("the failed handshake to be counted", || {
        let (_, text) = get(server.metrics_port(), "/metrics");
        (counter(&text, "unsuccessful_handshake") == 1).then_some(())
    });
}

#[test]
fn the_admin_port_may_take_both_kinds() {
    let stores = Stores::new();
    let server = Server::standalone(&format!("admin.portUnification=true\n{}", stores.lines("ssl.quorum.")));
    assert!(is_ok(&stores.get(server.admin_port(), "/readyz", None)));
    assert_eq!(get(server.admin_port(), "/readyz"), (200, "ok".into()));
    let (_, text) = get(server.metrics_port(), "/metrics");
    assert_eq!((counter(&text, "insecure_admin_count"), counter(&text, "unsuccessful_handshake")), (1, 0));
}

#[test]
fn a_client_without_a_trusted_certificate_is_refused() {
    let stores = Stores::new();
    let lines = stores.lines("ssl.quorum.");
    let server = Server::standalone(&format!("admin.forceHttps=true\nadmin.needClientAuth=true\n{lines}"));
    let get = |certificate: Option<&str>| stores.get(server.admin_port(), "/readyz", certificate);
    let trusted = stores.authority.issue(ExtendedKeyUsagePurpose::ClientAuth);
    let strange = Authority::new().issue(ExtendedKeyUsagePurpose::ClientAuth);
    let of_a_server = stores.authority.issue(ExtendedKeyUsagePurpose::ServerAuth);
    assert!(is_ok(&get(Some(&trusted))), "{:?}", get(Some(&trusted)));
    for certificate in [None, Some(&*strange), Some(&*of_a_server)] {
        let answer = get(certificate);
        assert!(answer.is_err(), "{answer:?}");
    }
}

#[test]
fn metrics_have_a_port_for_each_kind_or_one_for_both() {
    const PREFIX: &str = "metricsProvider.ssl.";
    let stores = Stores::new();
    let trusted = stores.authority.issue(ExtendedKeyUsagePurpose::ClientAuth);
    let lines = stores.lines(PREFIX);
    // World gives the plain port.
    let server = Server::standalone(&format!("metricsProvider.httpsPort=0\n{lines}"));
    assert_eq!(get(server.metrics_port(), "/metrics").0, 200);
    let secure = server.secure_metrics_port().unwrap();
    assert!(is_ok(&stores.get(secure, "/metrics", Some(&trusted))));
    assert!(stores.get(secure, "/metrics", None).is_err(), "certificates are needed unless switched off");
    drop(server);
    let server = Server::standalone(&format!(
        "metricsProvider.httpPort=-1\nmetricsProvider.httpsPort=0\n{PREFIX}need.client.auth=false\n{lines}"
    ));
    assert_eq!(server.secure_metrics_port(), None);
    assert!(is_ok(&stores.get(server.metrics_port(), "/metrics", None)));
    let strange = Authority::new().issue(ExtendedKeyUsagePurpose::ClientAuth);
    let answer = stores.get(server.metrics_port(), "/metrics", Some(&strange));
    assert!(answer.is_err(), "one that is shown must be trusted: {answer:?}");
    drop(server);
    let port = crate::world::free_port(std::net::Ipv4Addr::LOCALHOST.into());
    let server = Server::standalone(&format!(
        "metricsProvider.httpPort={port}\nmetricsProvider.httpsPort={port}\n{PREFIX}need.client.auth=false\n{lines}"
    ));
    assert_eq!(get(server.metrics_port(), "/metrics").0, 200);
    assert!(is_ok(&stores.get(server.metrics_port(), "/metrics", None)));
}

#[test]
fn a_server_does_not_start_with_stores_that_it_cannot_use() {
    let stores = Stores::new();
    let check = |file: &Path, content: &str, expected: &str| {
        let before = std::fs::read(file).unwrap();
        std::fs::write(file, content).unwrap();
        let mut server = Server::new(&format!("clientPort=0\nadmin.forceHttps=true\n{}", stores.lines("ssl.quorum.")));
        let error = server.try_start().unwrap_err();
        std::fs::write(file, before).unwrap();
        assert_eq!(error.exit_code(), exit::USAGE);
        assert!(error.to_string().contains(expected), "{error}");
    };
    let (key, other) = (std::fs::read_to_string(stores.key()).unwrap(), KeyPair::generate().unwrap().serialize_pem());
    let end_of_key = key.find("-----BEGIN CERTIFICATE").unwrap();
    check(&stores.key(), "", "ssl.quorum.keyStore.location");
    check(&stores.key(), &key[..end_of_key], "no certificate in PEM");
    check(&stores.key(), &key[end_of_key..], "no private key in PEM");
    check(&stores.key(), &(other + &key[end_of_key..]), "ssl.quorum.*");
    check(&stores.key(), &key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "openssl pkey");
    check(&stores.key(), "0\u{0}\u{0}", "openssl pkcs12");
    check(&stores.key(), &"#".repeat((1 << 20) + 1), "longer than 1048576 bytes");
    check(&stores.trust(), "nothing", "ssl.quorum.trustStore.location");
}

/// A connection that goes silent in its handshake is ended as one that goes silent in its request is.
#[test]
fn a_handshake_may_not_take_for_ever() {
    let stores = Stores::new();
    let lines = stores.lines("ssl.quorum.");
    let server = Server::standalone(&format!("admin.forceHttps=true\nadmin.idleTimeout=200\n{lines}"));
    let mut stream = open(server.admin_port()).unwrap();
    stream.write_all(&[22, 3, 1]).unwrap();
    let began = std::time::Instant::now();
    let _ = stream.read_to_end(&mut Vec::new());
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
}
