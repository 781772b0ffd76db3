//! `zoo.cfg`: what the spec asks for, and the members that are recorded.

use std::fmt::Write;

use operator_api::{FourLetterWord, RecoveryPhase, names};
use serde_json::{Value, json};

use crate::founded::Founded;
use crate::validate::ValidEnsemble;

pub(super) fn body(zoo_cfg: &str) -> Value {
    json!({ "data": { names::CONFIG_KEY: zoo_cfg } })
}

/// The file that every server of the ensemble reads. The same text for all: a server finds its own line by its id.
///
/// The `server.N` lines are the committed configuration, before the first reconfiguration the frozen voters, and never
/// `spec.replicas`: an edited spec must not make two lists of voters. They are for servers that have nothing better: one that has
/// kept a later configuration goes by that, and one without a line finds its own by the pattern `ensemble.member`.
///
/// During a recovery it names the one volume of the former ensemble that this one begins with.
pub fn zoo_cfg(ensemble: &ValidEnsemble, founded: &Founded) -> String {
    let config = &ensemble.spec.config;
    let txn_log_dir = if ensemble.spec.storage.txn_log.enabled { names::TXN_LOG_DIR } else { names::DATA_DIR };
    let words: Vec<&str> = config.four_letter_words.iter().copied().map(FourLetterWord::as_str).collect();
    let mut text = String::from("# Written by the operator from the ZooKeeperEnsemble; an edit here is undone.\n");
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{key}={value}").expect("writing to a String does not fail");
    };
    line("tickTime", &config.tick_time_ms);
    line("initLimit", &config.init_limit);
    line("syncLimit", &config.sync_limit);
    line("dataDir", &names::DATA_DIR);
    line("dataLogDir", &txn_log_dir);
    line("snapCount", &config.snap_count);
    line("preAllocSize", &config.pre_alloc_kb);
    if let Some(min) = config.min_session_timeout_ms {
        line("minSessionTimeout", &min);
    }
    if let Some(max) = config.max_session_timeout_ms {
        line("maxSessionTimeout", &max);
    }
    line("maxClientCnxns", &config.max_client_cnxns);
    line("maxCnxns", &config.max_cnxns);
    line("autopurge.snapRetainCount", &config.autopurge.snap_retain_count);
    line("autopurge.purgeInterval", &config.autopurge.purge_interval_hours);
    line("4lw.commands.whitelist", &words.join(","));
    for (key, value) in &config.extra {
        line(key, value);
    }
    line("standaloneEnabled", &false);
    line("reconfigEnabled", &true);
    line("quorumListenOnAllIPs", &true);
    line("admin.serverPort", &names::ADMIN_PORT);
    line("metricsProvider.httpPort", &names::METRICS_PORT);
    line("ensemble.id", &founded.ensemble_id);
    line("ensemble.adminTokenFile", &format!("{}/{}", names::TOKEN_DIR, names::TOKEN_KEY));
    line("ensemble.myidOffset", &ensemble.spec.myid_offset);
    line("ensemble.member", &server(ensemble, "{ordinal}", "participant"));
    if let Some(recovery) = founded.recovery.as_ref().filter(|recovery| recovery.phase <= RecoveryPhase::Starting) {
        line("ensemble.recovery.from", &recovery.former_ensemble_id);
        line("ensemble.recovery.volume", &recovery.volume_id);
        line("ensemble.recovery.epoch", &recovery.epoch);
    }
    let members = [(founded.voters(), "participant"), (founded.observers(), "observer")];
    for (ordinals, role) in members {
        for ordinal in ordinals.into_iter().filter(|ordinal| founded.is_ours(*ordinal)) {
            line(&format!("server.{}", founded.myid(ordinal)), &server(ensemble, &ordinal.to_string(), role));
        }
    }
    text
}

/// The value of a server's line.
pub(crate) fn server(ensemble: &ValidEnsemble, ordinal: &str, role: &str) -> String {
    let domain = ensemble.spec.cluster_domain.as_deref();
    let host = names::member_host(&ensemble.name, &ensemble.namespace, domain, ordinal);
    let (quorum, election, client) = (names::QUORUM_PORT, names::ELECTION_PORT, names::CLIENT_PORT);
    format!("{host}:{quorum}:{election}:{role};0.0.0.0:{client}")
}
