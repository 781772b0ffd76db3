//! Operator mode: an ensemble lost its majority for good, and the volume of one member goes on as a new ensemble.

use crate::admin::{ENSEMBLE, get, status};
use crate::client::Client;
use crate::joining::{Pods, votes};
use crate::reconfigure::{config, line};
use crate::world::{Server, wait_for};
use ensemble_proto::ErrorCode;
use ensemble_server::exit;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const NEW: &str = "7f0c3b52-5d2e-4f0a-9a43-0c1d2e3f4a5b";
/// How long two servers are watched that must not elect each other.
const WATCHED: Duration = Duration::from_secs(2);

/// The `zoo.cfg` of a pod of the new ensemble, in which `volume` of server `id` is to be the first member.
fn recovering(text: &str, line: &str, volume: &Value) -> String {
    let kept = text.lines().filter(|line| !line.starts_with("server."));
    let text: String = kept.map(|line| format!("{line}\n")).collect();
    let volume = volume.as_str().unwrap();
    let recovery =
        format!("ensemble.recovery.from={ENSEMBLE}\nensemble.recovery.volume={volume}\nensemble.recovery.epoch=40\n");
    text.replace(&format!("ensemble.id={ENSEMBLE}"), &format!("ensemble.id={NEW}")) + line + "\n" + &recovery
}

fn serves(server: &Server) {
    wait_for("it to serve", || (get(server.admin_port(), "/readyz").0 == 200).then_some(()));
}

fn logged(server: &Server) -> i64 {
    let status = status(server);
    i64::from_str_radix(&status["loggedZxid"].as_str().unwrap()[2..], 16).unwrap()
}

fn data(server: &Server, path: &str) -> Vec<u8> {
    let mut client = wait_for("a connection", || Client::connect(server.client_port()).ok());
    client.get(path).unwrap().unwrap()
}

#[test]
fn the_volume_of_one_member_goes_on_as_a_new_ensemble() {
    let pods = Pods::new(4);
    let mut servers = pods.founded(3);
    let all: Vec<&Server> = servers.iter().collect();
    let mut client = Client::connect(servers[1].client_port()).unwrap();
    assert_eq!(client.create("/a", b"1").unwrap(), ErrorCode::OK);
    // Its history holds a configuration in which the others are a majority.
    let fourth = pods.pod(4, 3);
    assert_eq!(votes(&all, 4), false);
    pods.change(&all, &[4], &[]);
    pods.change(&all, &[], &[4]);
    assert_eq!(client.set("/a", b"2").unwrap(), ErrorCode::OK);
    let version = config(&servers[1]).0;
    let (volume, end) = (status(&servers[1])["volumeId"].clone(), logged(&servers[1]));
    drop(fourth);
    let mut lost = servers.remove(2);
    let [first, second] = &mut servers[..] else { panic!("two are left") };
    for server in [&mut lost, first, second] {
        server.stop();
    }
    let own = line(2, &pods.places[1]);

    // Of another volume than the one that is named nothing is taken over.
    for server in [&mut *first, &mut *second] {
        let strange = json!("11111111-2222-3333-4444-555555555555");
        let before = server.write_config();
        let before = std::fs::read_to_string(before).unwrap();
        server.edit(|text| recovering(text, &own, &strange));
        let error = server.try_start().unwrap_err();
        assert_eq!(error.exit_code(), exit::IDENTITY, "{error}");
        server.edit(|_| before);
    }
    // What a server without a leader says of the end of its history.
    second.start();
    assert!(logged(second) >= end, "{:x} is less than {end:x}", logged(second));
    second.stop();

    second.edit(|text| recovering(text, &own, &volume));
    second.start();
    serves(second);
    let found = status(second);
    assert_eq!((&found["ensembleId"], &found["volumeId"]), (&json!(NEW), &volume));
    assert_eq!((&found["role"], &found["config"]["servers"]), (&json!("leading"), &json!([own])));
    assert!(found["epoch"].as_i64() > Some(40), "{found}");
    let first_version = config(second).0;
    assert_ne!(first_version, version);
    assert_eq!(data(second, "/a"), b"2");
    let told = String::from_utf8(data(second, "/zookeeper/config")).unwrap();
    assert!(told.starts_with(&format!("{own}\n")), "{told}");

    // The former ensemble's other volumes are strangers, whatever zoo.cfg says of a recovery.
    first.edit(|text| recovering(text, &own, &volume));
    let error = first.try_start().unwrap_err();
    assert_eq!(error.exit_code(), exit::IDENTITY);
    assert!(error.to_string().contains("ensembleId is"), "{error}");

    // It is done once.
    second.stop();
    second.start();
    serves(second);
    assert_eq!(config(second).0, first_version);

    // New volumes join as in any ensemble, and are no majority of anything before they are members.
    let newcomer = |id: usize| {
        let mut pod = pods.new_pod(id);
        pod.edit(|text| recovering(text, &own, &volume));
        pod.start();
        pod
    };
    let newcomers = [newcomer(1), newcomer(3)];
    for (id, newcomer) in [1, 3].into_iter().zip(&newcomers) {
        serves(newcomer);
        assert_eq!(votes(&[&*second], id), false);
    }
    second.stop();
    let until = Instant::now() + WATCHED;
    wait_for("two that are left alone", || {
        let leads = newcomers.iter().any(|server| status(server)["role"] == "leading");
        assert!(!leads, "two newcomers elected each other");
        (Instant::now() > until).then_some(())
    });
    second.start();
    serves(second);
    for newcomer in &newcomers {
        serves(newcomer);
    }
    let all = [&*second, &newcomers[0], &newcomers[1]];
    pods.change(&all, &[1, 3], &[]);
    assert_eq!(votes(&all, 1), true);
    second.stop();
    for newcomer in &newcomers {
        serves(newcomer);
        assert_eq!(data(newcomer, "/a"), b"2");
    }
}
