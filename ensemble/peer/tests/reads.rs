//! Reads beyond the common ones: several at once, a session's ephemeral znodes, how many znodes are below one, and who asks.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Received, World, create};
use ensemble_peer::ClientId;
use ensemble_proto::client::{AuthRequest, MultiReadRequest, OpCode, PathRequest, ReadRequest, digest_id};
use ensemble_proto::jute::{Reader, Writer};
use ensemble_proto::{ErrorCode, Stat};

fn ask(world: &mut World, client: ClientId, op: OpCode, record: impl FnOnce(&mut Vec<u8>)) -> (ErrorCode, Vec<u8>) {
    world.request(0, client, 7, op, record);
    match world.received(0, client).pop().expect("a reply") {
        Received::Reply { xid: 7, error, body, .. } => (error, body),
        other => panic!("{other:?} instead of a reply"),
    }
}

fn strings(body: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(body);
    let mut strings = reader.vector("strings", 4, |reader| reader.string("string")).unwrap().unwrap();
    assert!(reader.is_empty());
    strings.sort();
    strings
}

fn world() -> (World, ClientId) {
    let mut world = World::standalone();
    let (client, _) = world.session(0);
    for (xid, (path, flags)) in [("/a", 0), ("/a/b", 1), ("/ab", 1), ("/c", 1)].into_iter().enumerate() {
        create(&mut world, 0, client, xid as i32, path, flags);
    }
    world.received(0, client);
    (world, client)
}

#[test]
fn a_multi_read_has_a_result_for_every_read_and_leaves_no_watch() {
    let (mut world, client) = world();
    let read = |op, path: &'static str| (op, ReadRequest { path: path.into(), watch: true });
    let ops = vec![
        read(OpCode::GetData, "/a/b"),
        read(OpCode::GetData, "/missing"),
        read(OpCode::GetChildren, "/a"),
        read(OpCode::GetChildren, "/missing"),
    ];
    let request = MultiReadRequest { ops };
    let (error, body) = ask(&mut world, client, OpCode::MultiRead, |out| request.encode(out));
    assert_eq!(error, ErrorCode::OK);
    let mut reader = Reader::new(&body);
    let header = |reader: &mut Reader<'_>| {
        (reader.int("type").unwrap(), reader.boolean("done").unwrap(), reader.int("err").unwrap())
    };
    assert_eq!(header(&mut reader), (OpCode::GetData.code(), false, 0));
    assert_eq!(reader.buffer("data").unwrap(), Some(&b"data"[..]));
    assert_eq!(Stat::decode(&mut reader).unwrap().num_children, 0);
    let missing = ErrorCode::NO_NODE.0;
    assert_eq!((header(&mut reader), reader.int("err").unwrap()), ((-1, false, missing), missing));
    assert_eq!(header(&mut reader), (OpCode::GetChildren.code(), false, 0));
    assert_eq!(reader.vector("children", 4, |r| r.string("child")).unwrap().unwrap(), ["b"]);
    assert_eq!((header(&mut reader), reader.int("err").unwrap()), ((-1, false, missing), missing));
    assert_eq!(header(&mut reader), (-1, true, -1));
    assert!(reader.is_empty());
    assert_eq!(world.peers[0].status().watches, 0);

    let wrong = MultiReadRequest { ops: vec![read(OpCode::GetData, "/a"), read(OpCode::SetData, "/a")] };
    assert_eq!(
        ask(&mut world, client, OpCode::MultiRead, |out| wrong.encode(out)),
        (ErrorCode::MARSHALLING_ERROR, vec![])
    );
}

#[test]
fn a_session_lists_its_own_ephemeral_znodes_by_a_prefix_of_characters() {
    let (mut world, client) = world();
    let (other, _) = world.session(0);
    create(&mut world, 0, other, 1, "/a/other", 1);
    for (prefix, expected) in [
        (Some("/"), &["/a/b", "/ab", "/c"][..]),
        (Some(" "), &["/a/b", "/ab", "/c"]),
        (None, &["/a/b", "/ab", "/c"]),
        (Some("/a"), &["/a/b", "/ab"]),
        (Some("/x"), &[]),
    ] {
        let (error, body) = ask(&mut world, client, OpCode::GetEphemerals, |out| out.buffer(prefix.map(str::as_bytes)));
        assert_eq!(
            (error, strings(&body)),
            (ErrorCode::OK, expected.iter().map(|path| path.to_string()).collect()),
            "{prefix:?}"
        );
    }
}

#[test]
fn the_number_of_all_children_counts_every_depth() {
    let (mut world, client) = world();
    // with /zookeeper, its two children and nothing else of ZooKeeper's own
    for (path, expected) in [("/", 4 + 3), ("/a", 1), ("/c", 0)] {
        let request = PathRequest { path: path.into() };
        let (error, body) = ask(&mut world, client, OpCode::GetAllChildrenNumber, |out| request.encode(out));
        assert_eq!((error, body), (ErrorCode::OK, i32::to_be_bytes(expected).to_vec()), "{path}");
    }
    let request = PathRequest { path: "/missing".into() };
    let reply = ask(&mut world, client, OpCode::GetAllChildrenNumber, |out| request.encode(out));
    assert_eq!(reply, (ErrorCode::NO_NODE, vec![]));
}

#[test]
fn a_client_is_told_who_it_is_without_secrets() {
    let (mut world, client) = world();
    world.request(0, client, 1, OpCode::Auth, |out| {
        AuthRequest { scheme: "digest".into(), auth: b"ann:secret" }.encode(out)
    });
    let (error, body) = ask(&mut world, client, OpCode::WhoAmI, |_| ());
    assert_eq!(error, ErrorCode::OK);
    let mut reader = Reader::new(&body);
    let entry = |reader: &mut Reader<'_>| Ok((reader.string("scheme")?, reader.string("user")?));
    let mut identities = reader.vector("identities", 8, entry).unwrap().unwrap();
    identities.sort();
    assert_eq!(identities, [("digest".into(), "ann".into()), ("ip".into(), "127.0.0.1".into())]);
    assert!(!String::from_utf8_lossy(&body).contains(digest_id("ann:secret").split(':').nth(1).unwrap()));
}
