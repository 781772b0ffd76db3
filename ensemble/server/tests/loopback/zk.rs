//! The shell `zk` on real servers: what `zkCli.sh` of 3.9.5 prints for the same lines, and what only this shell has.

use crate::client::exchange;
use crate::world::{Server, ensemble, wait_for};
use ensemble_zk::args::words;
use ensemble_zk::connect_string::ConnectString;
use ensemble_zk::session::{Session, Settings, State};
use ensemble_zk::shell::{Events, Flow, Shell};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

fn settings(to: &str) -> Settings {
    let to = ConnectString::parse(to).unwrap();
    Settings { to, timeout: Duration::from_secs(10), read_only: false }
}

/// A shell, and what it prints.
struct Terminal(Shell);

impl Terminal {
    fn on(to: &str) -> Terminal {
        Terminal(Shell::new(settings(to), Vec::new(), false, Events::silent()))
    }

    /// Standard output, standard error and exit code of a line.
    fn line(&mut self, line: &str) -> (String, String, i32) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(self.0.line(line, &mut out, &mut err).unwrap(), Flow::Goes, "{line}");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(out), text(err), self.0.exit_code())
    }

    /// A line that succeeds.
    fn ok(&mut self, line: &str) -> String {
        let (out, err, code) = self.line(line);
        assert_eq!((err.as_str(), code), ("", 0), "{line}: {out}");
        out
    }

    fn json(&mut self, line: &str) -> Vec<Value> {
        let (out, _, code) = self.line(&format!("{line} --json"));
        assert_eq!(code, 0, "{line}: {out}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn address(server: &Server) -> String {
    server.client_port().to_string()
}

/// Lines, what is printed, and `! ` before what goes to the standard error with exit code 1. Numbers that differ from run to run are `N`. `e2e/test mixed "what zkCli.sh prints"` holds
/// it to the real one.
const TRANSCRIPT: &str = include_str!("zkcli.txt");

#[test]
fn a_shell_prints_what_zkcli_prints() {
    let server = Server::standalone("extendedTypesEnabled=true");
    let mut terminal = Terminal::on(&address(&server));
    for step in TRANSCRIPT.trim_start_matches("> ").split("\n> ") {
        let (line, expected) = step.split_once('\n').unwrap_or((step, ""));
        let (out, err, code) = terminal.line(line);
        let masked = |line: &str| match line.split_once(" = ") {
            Some((name @ ("cZxid" | "ctime" | "mZxid" | "mtime" | "pZxid"), _)) => format!("{name} = N"),
            _ => line.to_owned(),
        };
        let found = out.lines().map(masked).chain(err.lines().map(|line| format!("! {line}")));
        assert_eq!(found.collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>(), "> {line}");
        assert_eq!(code, i32::from(!err.is_empty()), "> {line}");
    }
}

#[test]
fn a_command_that_is_none_has_exit_code_127_and_help() {
    let server = Server::standalone("");
    let mut terminal = Terminal::on(&address(&server));
    let (out, err, code) = terminal.line("bogus");
    assert_eq!((out.as_str(), code), ("", 127));
    assert!(
        err.contains("\tls [-s] [-w] [-R] path\n") && err.ends_with("Command not found: Command not found bogus\n"),
        "{err}"
    );
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(terminal.0.once(&words("get /none"), &mut out, &mut err).unwrap(), 1);
    assert_eq!(String::from_utf8(err).unwrap(), "Node does not exist: /none\n");
    assert_eq!(terminal.0.once(&words("create /x"), &mut out, &mut Vec::new()).unwrap(), 0);
    assert_eq!(String::from_utf8(out).unwrap(), "Created /x\n");
    assert_eq!(terminal.0.prompt(), format!("[zk: {}(CONNECTED) 1] ", address(&server)));
    let history = terminal.ok("history");
    assert_eq!(history, "0 - bogus\n1 - history\n");
}

#[test]
fn without_a_server_a_command_fails_soon() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_, err, code) = Terminal::on(&nobody.to_string()).line("ls /");
    assert_eq!((err.as_str(), code), ("KeeperErrorCode = ConnectionLoss for /\n", 1));
}

#[test]
fn an_export_is_imported_elsewhere_and_again_without_effect() {
    let server = Server::standalone("");
    let mut terminal = Terminal::on(&address(&server));
    for line in [
        "create /app one",
        "create /app/null",
        "create -e /app/gone",
        "create /app/x",
        "set -b /app/x AAH/",
        "create /copy \"\"",
    ] {
        terminal.ok(line);
    }
    terminal.ok("setAcl /app/null world:anyone:cdrw");
    let file = server.directory().join("export.jsonl");
    let file = file.to_str().unwrap();
    let (_, told, _) = terminal.line(&format!("export / {file}"));
    assert!(
        told.contains("skipped /app/gone: it is ephemeral\n") && told.ends_with("5 znodes exported, 4 skipped\n"),
        "{told}"
    );
    let lines = std::fs::read_to_string(file).unwrap();
    assert!(
        lines.contains(r#"{"acl":[{"id":"anyone","perms":"cdrwa","scheme":"world"}],"data":"one","path":"/app"}"#),
        "{lines}"
    );

    let mut other = Terminal::on(&format!("{}/copy", address(&server)));
    assert_eq!(
        other.ok(&format!("import -n {file}")),
        "4 would be created, 0 would be changed, 1 unchanged, 0 skipped\n"
    );
    assert_eq!(other.ok(&format!("import {file}")), "4 created, 0 changed, 1 unchanged, 0 skipped\n");
    assert_eq!(other.ok("ls -R /"), "/\n/app\n/copy\n/app/null\n/app/x\n");
    assert_eq!(other.ok("get -b /app/x"), "AAH/\n");
    assert_eq!(terminal.ok("getAcl /copy/app/null"), "'world,'anyone\n: cdrw\n");
    other.ok("set /app changed");
    assert_eq!(other.ok(&format!("import {file}")), "0 created, 1 changed, 4 unchanged, 0 skipped\n");
    std::fs::write(file, "{\"path\":\"/y\",\"acl\":[]}\nnonsense\n").unwrap();
    let (_, err, code) = other.line(&format!("import {file}"));
    assert!(err.starts_with("line 1: /y: Acl is not valid") && code == 1, "{err}");
}

#[test]
fn every_answer_is_json_where_it_is_asked_for() {
    let server = Server::standalone("");
    let mut terminal = Terminal::on(&address(&server));
    assert_eq!(terminal.json("create /a x")[0]["created"], "/a");
    let get = &terminal.json("get /a")[0];
    assert_eq!((&get["data"], &get["stat"]["version"]), (&"x".into(), &0.into()));
    assert_eq!(terminal.json("ls /")[0]["children"], serde_json::json!(["a", "zookeeper"]));
    for line in [
        "stat /a",
        "set /a y",
        "getAcl /a",
        "getAllChildrenNumber /",
        "getEphemerals /",
        "sync /",
        "whoami",
        "config",
        "tree /",
        "setquota -n 5 /a",
        "listquota /a",
        "delquota /a",
        "ls -R /",
        "top",
        "bench -n 5 /a",
        "delete /a",
    ] {
        let objects = terminal.json(line);
        assert!(!objects.is_empty() && objects.iter().all(Value::is_object), "{line}");
    }
}

#[test]
fn bench_measures_and_leaves_nothing_behind() {
    let server = Server::standalone("");
    let mut terminal = Terminal::on(&address(&server));
    let measured = terminal.ok("bench -n 20 -c 4 /");
    let operations: Vec<_> =
        measured.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(operations, ["create 20", "get 20", "set 20", "delete 20"]);
    assert_eq!(terminal.ok("ls /"), "[zookeeper]\n");
}

#[test]
fn a_watch_that_stays_tells_events_over_a_lost_connection() {
    let server = Server::standalone("");
    let address = address(&server);
    let mut other = Terminal::on(&address);
    other.ok("create /w");
    other.ok("create /w/c");
    let events = Events::silent();
    let mut watching = Terminal(Shell::new(settings(&address), Vec::new(), false, events));
    let client = watching.0.client();
    let told = std::thread::spawn(move || watching.ok("watch -n 2 /w --json"));
    let is_watched = || exchange(server.client_port(), b"wchp").contains("/w\n").then_some(());
    wait_for("the watch", is_watched);
    other.ok("set /w 1");
    let is = |state| (client.session.state() == state).then_some(());
    client.session.break_connection();
    wait_for("the end of the connection", || is(State::Connecting));
    wait_for("another connection", || is(State::Connected));
    wait_for("the watch again", is_watched);
    other.ok("set /w/c 2");
    let told = told.join().unwrap();
    let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str, path: &str| events.iter().any(|event| event["type"] == kind && event["path"] == path);
    assert!(of("NodeDataChanged", "/w") && of("NodeDataChanged", "/w/c"), "{told}");
    assert!(events.iter().any(|event| event["state"] == "Disconnected"), "{told}");
}

#[test]
fn a_session_goes_on_at_another_server() {
    let (mut servers, _) = ensemble(3, "");
    servers.iter_mut().for_each(Server::start);
    let ports: Vec<SocketAddr> = servers.iter().map(Server::client_port).collect();
    let to = ports.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
    let mut terminal = Terminal::on(&to);
    wait_for("a leader", || (terminal.line("create -e /e").2 == 0).then_some(()));
    let client = terminal.0.client();
    let session = client.session.id();
    let first = client.session.server().unwrap();
    let at = ports.iter().position(|port| *port == first).unwrap();
    servers[at].stop();
    wait_for("another server", || client.session.server().filter(|server| *server != first));
    wait_for("the znode of the session", || (terminal.line("stat /e").2 == 0).then_some(()));
    assert_eq!(client.session.id(), session);
    // Every server is seen, the one that stopped too.
    let top = terminal.line("top").0;
    assert_eq!((top.lines().count(), top.matches("leader").count()), (4, 1), "{top}");
}

#[test]
fn a_closed_session_takes_its_ephemerals_along() {
    let server = Server::standalone("");
    let mut terminal = Terminal::on(&address(&server));
    Terminal::on(&address(&server)).ok("create -e /e");
    assert_eq!(terminal.ok("ls /"), "[zookeeper]\n");
    let session = Session::open(settings(&address(&server)), |_| {});
    assert!(session.wait(Duration::from_secs(10)));
    session.close();
    assert_eq!(session.state(), State::Closed);
}
