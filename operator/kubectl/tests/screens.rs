//! What is printed for what was read: a folder a situation, `seen.yaml` in and `screen.txt` out.
//!
//! `UPDATE=1 cargo test -p operator-kubectl --test screens` writes the screens anew; read the difference before you keep it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use operator_kubectl::leader::{HandOff, hand_off};
use operator_kubectl::list::list;
use operator_kubectl::recover::recovery;
use operator_kubectl::screen::screen;
use operator_kubectl::seen::{Answer, Seen};
use serde::Deserialize;
use serde_json::{Value, json};

/// The moment of every screen.
const NOW: &str = "2030-01-01T12:00:00Z";

/// A situation, as its file says it: objects as the API server holds them, without what every one has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Situation {
    /// Why it is here. For the reader.
    about: String,
    ensemble: Value,
    #[serde(default)]
    pods: BTreeMap<i32, Value>,
    #[serde(default)]
    claims: BTreeMap<String, Value>,
    #[serde(default)]
    events: Vec<Value>,
    /// What each server answers; a text is why it does not.
    #[serde(default)]
    answers: BTreeMap<i32, Value>,
    #[serde(default)]
    unread: Vec<String>,
}

impl Situation {
    fn seen(self) -> Seen {
        let mut ensemble = self.ensemble;
        merge(
            &mut ensemble,
            json!({
                "apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble",
                "metadata": { "name": "zk", "namespace": "prod", "uid": "u", "generation": 1, "creationTimestamp": "2029-12-20T12:00:00Z" },
                "spec": {},
            }),
        );
        let pods = self.pods.into_iter().map(|(ordinal, mut pod)| {
            merge(&mut pod, json!({ "metadata": { "name": format!("zk-{ordinal}") } }));
            serde_json::from_value(pod).expect("a pod")
        });
        let claims = self.claims.into_iter().map(|(name, mut claim)| {
            merge(&mut claim, json!({ "metadata": { "name": name } }));
            serde_json::from_value(claim).expect("a claim")
        });
        let events = self.events.into_iter().map(|mut event| {
            merge(&mut event, json!({ "metadata": {}, "involvedObject": { "name": "zk" }, "type": "Normal" }));
            serde_json::from_value(event).expect("an event")
        });
        let answers = self.answers.into_iter().map(|(ordinal, answer)| (ordinal, said(ordinal, answer)));
        Seen {
            now: NOW.parse().expect("a timestamp"),
            ensemble: serde_json::from_value(ensemble).expect("an ensemble"),
            pods: pods.collect(),
            claims: claims.collect(),
            events: events.collect(),
            answers: answers.collect(),
            unread: self.unread,
        }
    }
}

fn said(ordinal: i32, mut answer: Value) -> Result<Answer, String> {
    if let Some(why) = answer.as_str() {
        return Err(why.to_owned());
    }
    let own = json!({ "version": "0.1.0", "myid": ordinal + 1, "ensembleId": "E", "storeState": "synced", "bootstrap": "closed", "epoch": 4 });
    merge(&mut answer, own);
    Ok(serde_json::from_value(answer).expect("an answer"))
}

/// Adds what is not there.
fn merge(value: &mut Value, others: Value) {
    match (value, others) {
        (Value::Object(value), Value::Object(others)) => {
            for (key, other) in others {
                merge(value.entry(key).or_insert(Value::Null), other);
            }
        }
        (value @ Value::Null, other) => *value = other,
        (_, _) => {}
    }
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens");
    let entries = fs::read_dir(root).expect("the folder exists").map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn read(folder: &Path) -> Seen {
    let text = fs::read_to_string(folder.join("seen.yaml")).expect("seen.yaml");
    let situation: Situation =
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    assert!(!situation.about.is_empty());
    situation.seen()
}

/// Compares a text with a file.
fn check(file: &Path, got: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(file, got).map_err(|error| error.to_string())?;
    }
    let want = fs::read_to_string(file).unwrap_or_default();
    if got == want { Ok(()) } else { Err(format!("== {}: wanted\n{want}\n== got\n{got}", file.display())) }
}

#[test]
fn screens() {
    let folders = folders();
    assert!(folders.len() >= 10, "only {} situations were found", folders.len());
    let failed: Vec<String> =
        folders.iter().filter_map(|folder| check(&folder.join("screen.txt"), &screen(&read(folder))).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_list_has_a_line_for_each() {
    let mut entries: Vec<_> = folders().iter().map(|folder| Ok(Box::new(read(folder).ensemble))).collect();
    entries.push(Err(("prod".to_owned(), "odd".to_owned(), "spec.replicas: invalid type".to_owned())));
    let got = list(NOW.parse().expect("a timestamp"), &entries, true);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens/list.txt");
    check(&file, &got).unwrap_or_else(|difference| panic!("{difference}"));
}

#[test]
fn nothing_is_said_of_nothing() {
    assert_eq!(list(NOW.parse().expect("a timestamp"), &[], false), "There are no ensembles here.\n");
}

/// Who is asked to hand the office over in a situation, or why nobody is.
fn check_hand_off(situation: &str, to: Option<&str>, want: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(situation);
    let got = match hand_off(&read(&folder), to) {
        Ok(HandOff { from, to }) => format!("{from} to {to:?}"),
        Err(why) => why,
    };
    assert!(got.contains(want), "{situation}, {to:?}: {got}");
}

#[test]
fn an_office_goes_to_a_voter_in_sync() {
    check_hand_off("healthy", None, "zk-0 to None");
    check_hand_off("healthy", Some("zk-2"), "zk-0 to Some((\"zk-2\", 3))");
    check_hand_off("healthy", Some("1"), "zk-0 to Some((\"zk-1\", 2))");
    check_hand_off("healthy", Some("zk-0"), "zk-0 leads already");
    check_hand_off("healthy", Some("zk-7"), "does not vote in zk; choose one of zk-0, zk-1, zk-2");
    check_hand_off("healthy", Some("kafka-1"), "kafka-1 does not vote");
    check_hand_off("scaling-waits", Some("zk-3"), "zk-3 does not vote");
    check_hand_off("roll-stalled", Some("zk-2"), "zk-2 is not in sync with zk-0");
    check_hand_off("leader-changed-since", Some("zk-0"), "zk-1 to Some((\"zk-0\", 1))");
    check_hand_off("no-quorum", None, "no majority of zk names a leader");
    check_hand_off("forbidden-to-ask", None, "you may not create pods/portforward");
    check_hand_off("foreign-leader", None, "server 9 leads, which is no pod of zk");
    check_hand_off("new", None, "zk does not exist yet");
}

#[test]
fn a_recovery_shows_what_goes_on_and_what_is_lost_and_takes_one_id() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens");
    let seen = read(&root.join("no-quorum"));
    for member in ["0", "zk-0"] {
        let recovery = recovery(&seen, member).expect("it answers with its history");
        let file = root.join("no-quorum/recover.txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, &recovery.text).expect("it can be written");
        }
        assert_eq!(recovery.text, fs::read_to_string(&file).unwrap_or_default());
        let refused = recovery.confirmed("F").expect_err("another id");
        assert!(refused.contains("\"F\" is not the id of zk, which is E: nothing was changed"), "{refused}");
        let change = recovery.confirmed("E").expect("its id");
        assert_eq!(change.patch, json!({ "spec": { "recovery": { "fromMember": 0, "confirm": "E" } } }));
    }
    let refused = |seen: &Seen, member: &str, why: &str| {
        let found = recovery(seen, member);
        assert!(found.as_ref().is_err_and(|error| error.contains(why)), "{member}: {found:?} is not refused: {why}");
    };
    refused(&seen, "1", "zk-1 does not answer with a history that could go on: does not answer: connection refused");
    refused(&seen, "7", "7 is no member of zk; choose one of zk-0, zk-1, zk-2");
    refused(&read(&root.join("healthy")), "0", "the majority of zk is not lost");
    refused(&read(&root.join("recovering")), "0", "the history of zk-0 is already to go on");
    let mut ahead = read(&root.join("no-quorum"));
    let history = |zxid: &str| said(1, json!({ "role": "looking", "storeState": "syncing", "loggedZxid": zxid }));
    ahead.answers.insert(1, history("0x400000a13"));
    refused(&ahead, "0", "zk-1 answers too, and holds more than zk-0: choose it");
    ahead.answers.insert(1, history("0x400000a11"));
    assert!(recovery(&ahead, "0").is_ok_and(|recovery| recovery.text.contains("it holds nothing that is later")));
}
