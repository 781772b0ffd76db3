//! Golden frames of the protocol's description, and of a real session.

use super::*;
use crate::SessionId;
use crate::jute::Reader;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a hex digit") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[track_caller]
fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) -> Vec<u8> {
    let mut out = b"before".to_vec();
    write(&mut out);
    let written = out.split_off(6);
    assert_eq!(written, hex(expected));
    written
}

/// The body of a framed request, after its header.
fn body(frame: &[u8]) -> Reader<'_> {
    Reader::new(&frame[12..])
}

#[test]
fn connect_request() {
    let request = ConnectRequest {
        last_zxid_seen: Zxid(0),
        timeout_ms: 30000,
        session: SessionId(0),
        password: &[0; 16],
        read_only: Some(false),
    };
    let bytes = check(
        |out| frame(out, |out| request.encode(out)),
        "0000002d 00000000 0000000000000000 00007530 0000000000000000 00000010 00000000000000000000000000000000 00",
    );
    assert_eq!(ConnectRequest::decode(&mut Reader::new(&bytes[4..])), Ok(request.clone()));
    let legacy = ConnectRequest { read_only: None, ..request };
    assert_eq!(ConnectRequest::decode(&mut Reader::new(&bytes[4..48])), Ok(legacy));
    assert!(ConnectRequest::decode(&mut Reader::new(&bytes[4..47])).is_err());
}

#[test]
fn connect_response() {
    let granted = ConnectResponse::granted(SessionId(0x0100_0000_0000_0000), 30000, Some(false));
    let bytes = check(
        |out| frame(out, |out| granted.encode(out)),
        "00000025 00000000 00007530 0100000000000000 00000010 f22acd4a97e69d6d20a49bb638eadb38 00",
    );
    assert_eq!(ConnectResponse::decode(&mut Reader::new(&bytes[4..])), Ok(granted));
    check(
        |out| frame(out, |out| ConnectResponse::expired(Some(false)).encode(out)),
        "00000025 00000000 00000000 0000000000000000 00000010 00000000000000000000000000000000 00",
    );
    check(
        |out| frame(out, |out| ConnectResponse::expired(None).encode(out)),
        "00000024 00000000 00000000 0000000000000000 00000010 00000000000000000000000000000000",
    );
}

#[test]
fn ping() {
    check(|out| request(out, xid::PING, OpCode::Ping, |_| {}), "00000008 fffffffe 0000000b");
    check(|out| reply(out, xid::PING, Zxid(5), ErrorCode::OK, |_| {}), "00000010 fffffffe 0000000000000005 00000000");
}

#[test]
fn create() {
    let create = CreateRequest { path: "/a".into(), data: Some(b"x"), acl: Some(vec![AclEntry::world(31)]), flags: 0 };
    let bytes = check(
        |out| request(out, 1, OpCode::Create, |out| create.encode(out)),
        "00000032 00000001 00000001 00000002 2f61 00000001 78 00000001 0000001f 00000005 776f726c64 00000006
         616e796f6e65 00000000",
    );
    assert_eq!(CreateRequest::decode(&mut body(&bytes)), Ok(create));
    let mut header = Reader::new(&bytes[4..]);
    assert_eq!(RequestHeader::decode(&mut header), Ok(RequestHeader { xid: 1, op: 1 }));
    check(
        |out| reply(out, 1, Zxid(2), ErrorCode::OK, |out| out.string("/a")),
        "00000016 00000001 0000000000000002 00000000 00000002 2f61",
    );
}

#[test]
fn notification() {
    let bytes = check(
        |out| WatcherEvent::notify(out, EventType::NodeDataChanged, "/a", Zxid(3)),
        "0000001e ffffffff 0000000000000003 00000000 00000003 00000003 00000002 2f61",
    );
    let mut reader = Reader::new(&bytes[4..]);
    let header = ReplyHeader { xid: -1, zxid: Zxid(3), error: ErrorCode::OK };
    assert_eq!(ReplyHeader::decode(&mut reader), Ok(header));
    let event = WatcherEvent { kind: EventType::NodeDataChanged, path: "/a".to_string() };
    assert_eq!(WatcherEvent::decode(&mut reader), Ok(event));
}

#[test]
fn close_session() {
    check(|out| request(out, 2, OpCode::CloseSession, |_| {}), "00000008 00000002 fffffff5");
}

#[test]
fn multi() {
    let delete = DeleteRequest { path: "/a".into(), version: -1 };
    let multi = MultiRequest { ops: vec![MultiOp::Delete(delete)] };
    let bytes = check(
        |out| request(out, 3, OpCode::Multi, |out| multi.encode(out)),
        "00000024 00000003 0000000e 00000002 00 ffffffff 00000002 2f61 ffffffff ffffffff 01 ffffffff",
    );
    assert_eq!(MultiRequest::decode(&mut body(&bytes)), Ok(multi));
    for (results, expected) in [
        (
            vec![MultiResult::Delete],
            "00000022 00000003 0000000000000004 00000000 00000002 00 00000000 ffffffff 01 ffffffff",
        ),
        (
            vec![MultiResult::Error(ErrorCode::NO_NODE)],
            "00000026 00000003 0000000000000004 00000000 ffffffff 00 ffffff9b ffffff9b ffffffff 01 ffffffff",
        ),
    ] {
        let bytes =
            check(|out| reply(out, 3, Zxid(4), ErrorCode::OK, |out| MultiResult::encode_all(&results, out)), expected);
        assert_eq!(MultiResult::decode_all(&mut Reader::new(&bytes[20..])), Ok(results));
    }
}

/// Create, set, check and delete in one multi, and its results, as kazoo and a 3.9.5 server wrote them.
#[test]
fn a_captured_multi_is_read_and_written_back_to_the_same_bytes() {
    let request =
        hex("00000001 00 ffffffff 000000032f6d31 0000000178 00000001 0000001f 00000005776f726c64 00000006616e796f6e65
         00000000 00000005 00 ffffffff 000000022f61 000000057468726565 ffffffff 0000000d 00 ffffffff 000000022f61
         00000002 00000002 00 ffffffff 000000032f6d31 ffffffff ffffffff 01 ffffffff");
    let multi = MultiRequest::decode(&mut Reader::new(&request)).expect("the request is well formed");
    let ops: Vec<OpCode> = multi.ops.iter().map(MultiOp::op).collect();
    assert_eq!(ops, [OpCode::Create, OpCode::SetData, OpCode::Check, OpCode::Delete]);
    check(|out| multi.encode(out), &to_hex(&request));

    let response = hex("00000001 00 00000000 000000032f6d31 00000005 00 00000000 0000000100000002 0000000100000004
         000001a207ac0f55 000001a207ac0f7b 00000002 00000000 00000000 0000000000000000 00000005 00000000
         0000000100000002 0000000d 00 00000000 00000002 00 00000000 ffffffff 01 ffffffff");
    let results = MultiResult::decode_all(&mut Reader::new(&response)).expect("the response is well formed");
    check(|out| MultiResult::encode_all(&results, out), &to_hex(&response));
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_a_multi_may_not_hold_makes_all_of_it_undecodable() {
    let check = |op: OpCode, record: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut bytes = Vec::new();
        bytes.int(op.code());
        bytes.boolean(false);
        bytes.int(-1);
        record(&mut bytes);
        bytes.extend(hex("ffffffff 01 ffffffff"));
        let error = MultiRequest::decode(&mut Reader::new(&bytes)).expect_err("the multi is refused");
        assert_eq!(error.to_string(), expected);
    };
    let create = |acl: Option<Vec<AclEntry<'static>>>, flags: i32| {
        move |out: &mut Vec<u8>| CreateRequest { path: "/a".into(), data: None, acl: acl.clone(), flags }.encode(out)
    };
    let open = || Some(vec![AclEntry::world(31)]);
    check(OpCode::Create, &create(open(), 7), "multi.create.flags: 7 is not 0..=4");
    check(OpCode::Create2, &create(open(), 5), "multi.create.flags: 5 is not 0..=4");
    check(OpCode::Create, &create(None, 0), "multi.create.acl: null is not a list");
    let path = |out: &mut Vec<u8>| PathRequest { path: "/a".into() }.encode(out);
    check(OpCode::Sync, &path, "multi.type: 9 is not a write that a multi may hold");
    check(OpCode::GetData, &path, "multi.type: 4 is not a write that a multi may hold");
    check(OpCode::SetAcl, &path, "multi.type: 7 is not a write that a multi may hold");
}

#[test]
fn the_other_records_are_read_back_as_they_were_written() {
    macro_rules! check {
        ($record:expr, $type:ident) => {
            let (record, mut bytes) = ($record, Vec::new());
            record.encode(&mut bytes);
            assert_eq!($type::decode(&mut Reader::new(&bytes)), Ok(record));
            for shorter in 0..bytes.len() {
                assert!($type::decode(&mut Reader::new(&bytes[..shorter])).is_err(), "{shorter} bytes");
            }
        };
    }
    check!(SetDataRequest { path: "/é中".into(), data: None, version: 3 }, SetDataRequest);
    check!(SetDataRequest { path: "/a".into(), data: Some(b""), version: -1 }, SetDataRequest);
    check!(SetAclRequest { path: "/a".into(), acl: None, version: 3 }, SetAclRequest);
    let entry = AclEntry { perms: 1, scheme: Some("auth".into()), id: None };
    check!(SetAclRequest { path: "/a".into(), acl: Some(vec![entry]), version: 3 }, SetAclRequest);
    check!(DeleteRequest { path: "/a".into(), version: 3 }, DeleteRequest);
    check!(CheckRequest { path: "/a".into(), version: 3 }, CheckRequest);
    check!(ReadRequest { path: "/a".into(), watch: true }, ReadRequest);
    check!(PathRequest { path: "/a".into() }, PathRequest);
    check!(AuthRequest { scheme: "digest".into(), auth: b"user:secret" }, AuthRequest);
    let watches = SetWatches {
        relative_zxid: Zxid(9),
        data: vec!["/a".into(), "/b".into()],
        exist: vec![],
        child: vec!["/".into()],
    };
    check!(watches, SetWatches);
}

#[test]
fn a_request_borrows_from_its_frame_unless_its_text_is_malformed() {
    let decode = |bytes: &'static [u8]| PathRequest::decode(&mut Reader::new(bytes)).map(|request| request.path);
    assert!(matches!(decode(b"\0\0\0\x02/a"), Ok(Cow::Borrowed("/a"))));
    assert_eq!(decode(b"\0\0\0\x02/\xff").as_deref(), Ok("/\u{fffd}"));
    assert_eq!(decode(b"\xff\xff\xff\xff").as_deref(), Ok(""), "kazoo writes an empty string as null");
}

/// Verified against a JDK.
#[test]
fn passwords_are_those_of_java() {
    let check = |session: u64, expected: &str| {
        assert_eq!(to_hex(&password(SessionId(session as i64))), expected);
    };
    check(0x0000_0000_0000_0001, "054cc74a37327db215e702e20c73f005");
    check(0x0100_0000_0000_0000, "f22acd4a97e69d6d20a49bb638eadb38");
    check(0x0123_4567_89ab_cdef, "f7cd1b8b3f946c477425d41be3f667c6");
    check(0xffff_ffff_ffff_ffff, "20f62cb5648dc2d771471c8a2486a9ee");
}

#[test]
fn digest_ids_are_those_of_java() {
    assert_eq!(digest_id("ben:passwd"), "ben:GnIFqmuceuc/72KWrVhTHjDv9u4=");
    assert_eq!(digest_id("super:test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
    assert_eq!(digest_id("super:zookeeper"), "super:yyuhPKumRtNj4r8GnSbbwuq1vhE=");
    assert_eq!(digest_id("user:pass:word"), "user:yNMcEO4y6Bgll487yEAxpvnMYoo=");
}
