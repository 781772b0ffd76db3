//! Four-letter words about single connections, sessions and watches, byte for byte but for what differs from run to run.

use crate::client::{Client, exchange, open};
use crate::world::{Server, ensemble, wait_for};
use ensemble_proto::ErrorCode;
use ensemble_proto::client::{AddWatchMode, OpCode, WatchRequest};
use std::io::{Read, Write};

fn say(server: &Server, word: &str) -> String {
    exchange(server.client_port(), word.as_bytes())
}

/// The text with `N` for every number that does not follow `keep`.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if shape.ends_with('N') => {}
            '0'..='9' => shape.push('N'),
            c => shape.push(c),
        }
    }
    shape
}

fn watch(client: &mut Client, path: &str, mode: AddWatchMode) {
    client.send(OpCode::AddWatch, |out| WatchRequest { path: path.into(), kind: mode as i32 }.encode(out)).unwrap();
    assert_eq!(client.receive().unwrap().error, ErrorCode::OK);
}

#[test]
fn cons_tells_what_was_answered_on_each_connection_and_crst_begins_anew() {
    let server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    client.create("/a", b"one").unwrap();
    client.get("/a").unwrap().unwrap();
    let (local, session) = (client.stream.local_addr().unwrap(), client.session.0);
    let cons = say(&server, "cons");
    let head = format!(" /{local}[1](queued=0,recved=3,sent=3,sid=0x{session:x},lop=GETD,est=");
    let (line, rest) = cons.split_once('\n').unwrap();
    assert!(line.starts_with(&head), "{cons}");
    let tail = line.split_once(",to=").unwrap().1;
    assert!(tail.starts_with("10000,lcxid=0x2,lzxid=0x2,lresp="), "{cons}");
    assert!(shape(tail).ends_with(",llat=N,minlat=N,avglat=N,maxlat=N)"), "{cons}");
    assert_eq!(shape(rest), " /N.N.N.N:N[N](queued=N,recved=N,sent=N)\n\n");
    assert!(rest.contains("[0](queued=0,recved=1,sent=0)"), "{cons}");
    let stat = say(&server, "stat");
    assert!(stat.contains(&format!("Clients:\n /{local}[1](queued=0,recved=3,sent=3)\n /127.0.0.1:")), "{stat}");
    assert!(stat.contains("[0](queued=0,recved=1,sent=0)\n\nLatency min/avg/max: "), "{stat}");

    assert_eq!(say(&server, "crst"), "Connection stats reset.\n");
    let cons = say(&server, "cons");
    assert!(cons.contains("recved=0,sent=0,sid=0x"), "{cons}");
    assert!(cons.contains("lop=NA,") && cons.contains(",to=10000,lzxid=0xffffffffffffffff,lresp=0,llat=0"), "{cons}");
}

#[test]
fn srst_begins_to_count_anew_and_words_count_as_packets() {
    let server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    client.create("/a", b"one").unwrap();
    assert!(say(&server, "srvr").contains("Received: 3\nSent: 2\n"), "{}", say(&server, "srvr"));
    assert_eq!(say(&server, "srst"), "Server stats reset.\n");
    assert!(say(&server, "srvr").contains("Received: 1\nSent: 0\n"));
}

#[test]
fn watches_are_listed_by_session_and_by_path() {
    let server = Server::standalone("");
    assert_eq!(say(&server, "wchs"), "0 connections watching 0 paths\nTotal watches:0\n");
    let mut clients: Vec<_> = (0..2).map(|_| Client::connect(server.client_port()).unwrap()).collect();
    for path in ["/a", "/b"] {
        clients[0].create(path, b"").unwrap();
    }
    for (client, path) in [(0, "/b"), (0, "/a"), (1, "/a")] {
        clients[client].send_get(path, true).unwrap();
        clients[client].receive().unwrap();
    }
    let [a, b] = [0, 1].map(|client: usize| clients[client].session.0);
    assert_eq!(say(&server, "wchs"), "2 connections watching 2 paths\nTotal watches:3\n");
    assert_eq!(say(&server, "wchc"), format!("0x{a:x}\n\t/a\n\t/b\n0x{b:x}\n\t/a\n\n"));
    assert_eq!(say(&server, "wchp"), format!("/a\n\t0x{a:x}\n\t0x{b:x}\n/b\n\t0x{a:x}\n\n"));
    watch(&mut clients[1], "/a", AddWatchMode::Persistent);
    watch(&mut clients[1], "/", AddWatchMode::Recursive);
    assert_eq!(say(&server, "wchs"), "2 connections watching 3 paths\nTotal watches:4\n");
    assert_eq!(say(&server, "wchc"), format!("0x{a:x}\n\t/a\n\t/b\n0x{b:x}\n\t/\n\t/a\n\n"));
}

#[test]
fn dump_tells_who_expires_when_and_what_goes_then() {
    let server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    client.create_ephemeral("/e").unwrap();
    let (local, session) = (client.stream.local_addr().unwrap(), client.session.0);
    let dump = say(&server, "dump");
    let year = |line: &str| line.len() == "1 expire at Sun Nov 22 10:51:50 UTC 2026:".len() && line.contains(" UTC 20");
    let lines: Vec<&str> = dump.lines().collect();
    let (id, ip) = (format!("\t0x{session:x}"), format!("\tip: /{local} sessionId: 0x{session:x}"));
    assert_eq!(lines[..2], ["SessionTracker dump:", "Session Sets (1)/(1):"], "{dump}");
    assert!(lines[2].starts_with("1 expire at ") && year(lines[2]), "{dump}");
    let owner = format!("0x{session:x}:");
    let ephemerals = ["ephemeral nodes dump:", "Sessions with Ephemerals (1):", &owner, "\t/e", "Connections dump:"];
    assert_eq!((lines[3], &lines[4..9]), (&*id, &ephemerals[..]), "{dump}");
    assert!(lines[9].starts_with("Connections Sets (") && lines.contains(&&*ip), "{dump}");
    assert!(
        lines.iter().any(|line| line.starts_with("\tip: /127.0.0.1:") && line.ends_with(" sessionId: 0x0")),
        "{dump}"
    );
    assert!(dump.ends_with('\n'));
}

#[test]
fn a_follower_knows_of_the_sessions_how_long_they_may_be_silent() {
    let (mut servers, _) = ensemble(2, "");
    servers.iter_mut().for_each(Server::start);
    let client = wait_for("a session", || Client::connect(servers[0].client_port()).ok());
    let leads = |server: &Server| say(server, "srvr").contains("Mode: leader\n");
    let follower = servers.iter().find(|server| !leads(server)).unwrap();
    let leader = servers.iter().find(|server| leads(server)).unwrap();
    let known = format!("SessionTracker dump:\nGlobal Sessions(1):\n0x{:x}\t10000ms\n", client.session.0);
    assert!(say(follower, "dump").starts_with(&known), "{}", say(follower, "dump"));
    assert!(
        say(leader, "dump").starts_with("SessionTracker dump:\nSession Sets (1)/(1):\n"),
        "{}",
        say(leader, "dump")
    );
    let sizes = |server| say(server, "srvr").lines().find(|line| line.starts_with("Proposal sizes")).map(str::to_owned);
    assert!(
        sizes(leader).is_some_and(|line| shape(&line) == "Proposal sizes last/min/max: N/N/N"),
        "{:?}",
        sizes(leader)
    );
    assert_eq!(sizes(follower), None);
}

#[test]
fn hash_shows_the_digest_at_every_128th_transaction() {
    let server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    assert_eq!(say(&server, "hash"), "");
    client.create("/a", b"").unwrap();
    for value in 0..260_u32 {
        client.set("/a", &value.to_be_bytes()).unwrap();
    }
    let hash = say(&server, "hash");
    let zxids: Vec<_> = hash.lines().map(|line| line.split_once(": ").unwrap()).collect();
    assert_eq!(zxids.iter().map(|(zxid, _)| *zxid).collect::<Vec<_>>(), ["80", "100"], "{hash}");
    assert!(zxids.iter().all(|(_, digest)| digest.parse::<i64>().is_ok()), "{hash}");
}

#[test]
fn the_trace_mask_is_the_last_one_that_was_set() {
    let server = Server::standalone("");
    assert_eq!(say(&server, "gtmk"), "306");
    assert_eq!(say(&server, "stmk\0\0\0\0\0\0\x01\x02"), "258");
    // Its argument may come later.
    let mut stream = open(server.client_port()).unwrap();
    let mut answer = String::new();
    stream.write_all(b"stmk\0\0").unwrap();
    assert_eq!(say(&server, "gtmk"), "258");
    stream.write_all(b"\0\0\0\0\0\x07").unwrap();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!((answer, say(&server, "gtmk")), ("7".into(), "7".into()));
}

#[test]
fn dirs_adds_the_files_of_both_directories() {
    let server = Server::standalone("");
    let size = |line: &str, name: &str| line.strip_prefix(name).and_then(|size| size.parse::<u64>().ok());
    let dirs = say(&server, "dirs");
    let (data, log) = dirs.trim_end().split_once('\n').unwrap();
    let sizes = (size(data, "datadir_size: "), size(log, "logdir_size: "));
    assert!(sizes.0.is_some_and(|size| size > 0) && sizes.0 == sizes.1, "{dirs}");
}

#[test]
fn a_server_that_serves_nobody_says_so_in_zookeepers_words() {
    const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";
    let (mut servers, _) = ensemble(3, "");
    servers[0].start();
    for word in ["srvr", "stat", "cons", "crst", "srst", "dump", "dirs", "wchs", "wchc", "wchp", "mntr", "conf"] {
        assert_eq!(say(&servers[0], word), format!("{NOT_SERVING}\n"), "{word}");
    }
    assert_eq!(say(&servers[0], "hash"), NOT_SERVING);
    for (word, answer) in [("ruok", "imok"), ("isro", "null"), ("gtmk", "306"), ("stmk\0\0\0\0\0\0\0\x05", "5")] {
        assert_eq!(say(&servers[0], word), answer, "{word}");
    }
    assert!(say(&servers[0], "envi").starts_with("Environment:\nzookeeper.version="));
}

#[test]
fn a_long_list_is_complete_and_others_are_served_while_it_is_not_taken() {
    const PATHS: usize = 30_000;
    let server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    for path in 0..PATHS {
        client
            .send(OpCode::AddWatch, |out| {
                WatchRequest { path: format!("/long/{path:0>200}").into(), kind: 0 }.encode(out);
            })
            .unwrap();
        if path % 1000 == 999 {
            (0..1000).for_each(|_| assert_eq!(client.receive().unwrap().error, ErrorCode::OK));
        }
    }
    let mut asking = open(server.client_port()).unwrap();
    asking.write_all(b"wchc").unwrap();
    for value in 0..20_u32 {
        assert_eq!(client.create(&format!("/a{value}"), b"").unwrap(), ErrorCode::OK);
    }
    let mut answer = String::new();
    asking.read_to_string(&mut answer).unwrap();
    assert_eq!(
        (answer.lines().count(), answer.len()),
        (PATHS + 2, 20 + PATHS * 208 + 1 - (20 - 3 - format!("{:x}", client.session.0).len()))
    );
}
