//! TLS of the ports for people and programs: what a handshake is held with, read from PEM files, and read anew when they change.
//!
//! Files are read at the start, where what is wrong with them keeps the server from starting, and then at a handshake, at most once in
//! [`REREAD_INTERVAL`]. What has changed counts from that handshake on. New files that cannot be used, such as a key without its certificate because only
//! one file is written yet, change nothing: the former ones count on, and a line of the log says why, once for each content.
//!
//! Whoever is asked for a certificate must show one that the trust store signs; its name does not matter, as in ZooKeeper's AdminServer.

mod pem;

use crate::config::{ClientAuth, Tls};
use pem::Stores;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Time between looks at the files. ZooKeeper: ten minutes on the metrics port, never on the admin port.
pub(crate) const REREAD_INTERVAL: Duration = Duration::from_secs(10);

/// Why there can be no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A store cannot be read.
    #[error("{key}: cannot read {}: {source}", path.display())]
    Read {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A store is not what it should be.
    #[error("{key}: {}: {problem}", path.display())]
    Store {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the way out.
        problem: String,
    },
    /// Key, certificates and versions do not go together.
    #[error("{prefix}*: {source}")]
    Unfit {
        /// How the keys begin.
        prefix: &'static str,
        /// What does not fit.
        source: rustls::Error,
    },
}

/// What handshakes of one port are held with.
pub(crate) struct Handshakes {
    tls: Tls,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    /// What `config` was made of.
    used: Stores,
    /// What was found last and could not be used; `None` when nothing was even read.
    refused: Option<Option<Stores>>,
    looked: Instant,
}

impl Handshakes {
    /// Reads the files; `now` is the time.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(tls: Tls, now: Instant) -> Result<Handshakes, TlsError> {
        let used = Stores::read(&tls)?;
        let config = Arc::new(config(&tls, &used)?);
        let state = Mutex::new(State { config, used, refused: None, looked: now });
        Ok(Handshakes { tls, state })
    }

    /// What the next handshake is held with.
    pub(crate) fn config(&self, now: Instant) -> Arc<ServerConfig> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.looked) >= REREAD_INTERVAL {
            state.looked = now;
            match state.look(&self.tls) {
                Look::Nothing => {}
                Look::Changed => tracing::info!(keys = self.tls.prefix, "TLS: keys or certificates have changed"),
                Look::Refused(error) => {
                    tracing::error!(%error, "TLS: keys or certificates have changed and cannot be used; the former ones count on");
                }
            }
        }
        state.config.clone()
    }
}

/// What a look at the files has shown.
#[derive(Debug)]
enum Look {
    /// What was there before, or what was refused before.
    Nothing,
    /// Others, which count from now on.
    Changed,
    /// Others, which cannot be used.
    Refused(TlsError),
}

impl State {
    fn look(&mut self, tls: &Tls) -> Look {
        let found = Stores::read(tls);
        let content = found.as_ref().ok().cloned();
        if content.as_ref() == Some(&self.used) {
            self.refused = None;
            return Look::Nothing;
        }
        if self.refused.as_ref() == Some(&content) {
            return Look::Nothing;
        }
        match found.and_then(|found| Ok((config(tls, &found)?, found))) {
            Ok((config, used)) => {
                (self.config, self.used, self.refused) = (Arc::new(config), used, None);
                Look::Changed
            }
            Err(error) => {
                self.refused = Some(content);
                Look::Refused(error)
            }
        }
    }
}

fn config(tls: &Tls, stores: &Stores) -> Result<ServerConfig, TlsError> {
    let unfit = |source| TlsError::Unfit { prefix: tls.prefix, source };
    let (key, chain) = stores.key(tls)?;
    let provider = Arc::new(CryptoProvider { cipher_suites: tls.cipher_suites.clone(), ..ring::default_provider() });
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&tls.versions).map_err(unfit)?;
    let builder = match (tls.client_auth, stores.trusted(tls)?) {
        (ClientAuth::None, _) | (_, None) => builder.with_no_client_auth(),
        (client_auth, Some(trusted)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), provider);
            let verifier = match client_auth {
                ClientAuth::Want => verifier.allow_unauthenticated(),
                ClientAuth::Need | ClientAuth::None => verifier,
            };
            let verifier = verifier.build().map_err(|error| unfit(rustls::Error::General(error.to_string())))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder.with_single_cert(chain, key).map_err(unfit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::crypto::ring::ALL_CIPHER_SUITES;
    use rustls::version::TLS13;
    use std::path::Path;

    fn pem() -> String {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["x".to_owned()]).unwrap();
        signing_key.serialize_pem() + &cert.pem()
    }

    fn tls(file: &Path) -> Tls {
        Tls {
            key_store: file.to_owned(),
            trust_store: None,
            client_auth: ClientAuth::None,
            versions: vec![&TLS13],
            cipher_suites: ALL_CIPHER_SUITES.to_vec(),
            prefix: "ssl.quorum.",
            key_store_key: "ssl.quorum.keyStore.location",
            trust_store_key: "ssl.quorum.trustStore.location",
        }
    }

    #[test]
    fn files_that_change_count_and_bad_ones_do_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(file.path(), text).unwrap();
        let (first, second) = (pem(), pem());
        write(&first);
        let mut now = Instant::now();
        let handshakes = Handshakes::new(tls(file.path()), now).unwrap();
        let config = handshakes.config(now);
        let mut look = |wait: Duration| {
            now += wait;
            handshakes.config(now)
        };
        let is_same = |other: &Arc<ServerConfig>| Arc::ptr_eq(&config, other);
        assert!(is_same(&look(REREAD_INTERVAL)), "what has not changed is not made anew");
        write("");
        assert!(is_same(&look(REREAD_INTERVAL)), "a file that is being written");
        // Half of the second, with which the certificate does not go.
        let (key, certificate) = (second.find("-----BEGIN CERT").unwrap(), first.find("-----BEGIN CERT").unwrap());
        write(&(second[..key].to_owned() + &first[certificate..]));
        assert!(is_same(&look(REREAD_INTERVAL)), "a key that is not the certificate's");
        write(&second);
        assert!(is_same(&look(REREAD_INTERVAL - Duration::from_millis(1))), "it is not looked at yet");
        let changed = look(Duration::from_millis(1));
        assert!(!is_same(&changed));
        std::fs::remove_file(file.path()).unwrap();
        assert!(Arc::ptr_eq(&changed, &look(REREAD_INTERVAL)), "no file at all");
        write(&first);
        assert!(!Arc::ptr_eq(&changed, &look(REREAD_INTERVAL)), "back to the first");
    }

    #[test]
    fn what_cannot_be_used_is_told_once_for_each_content() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let first = pem();
        std::fs::write(file.path(), &first).unwrap();
        let tls = tls(file.path());
        let used = Stores::read(&tls).unwrap();
        let config = Arc::new(config(&tls, &used).unwrap());
        let mut state = State { config, used, refused: None, looked: Instant::now() };
        let mut look = |content: Option<&str>| {
            match content {
                Some(content) => std::fs::write(file.path(), content).unwrap(),
                None => std::fs::remove_file(file.path()).unwrap_or_default(),
            }
            match state.look(&tls) {
                Look::Nothing => "nothing",
                Look::Changed => "changed",
                Look::Refused(_) => "refused",
            }
        };
        for (content, expected) in [
            (Some(&*first), "nothing"),
            (Some("bad"), "refused"),
            (Some("bad"), "nothing"),
            (Some("worse"), "refused"),
            (None, "refused"),
            (None, "nothing"),
            (Some(&*first), "nothing"),
            (Some("bad"), "refused"),
            (Some(&*pem()), "changed"),
            (Some(&*first), "changed"),
        ] {
            assert_eq!(look(content), expected, "{content:?}");
        }
    }
}
