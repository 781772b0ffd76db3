//! What clients and a ZooKeeper 3.9.5 server said to each other decodes to its end and encodes to the same bytes.

use ensemble_proto::client::{
    ConnectRequest, ConnectResponse, CreateRequest, DeleteRequest, MultiRequest, MultiResult, OpCode, PathRequest,
    ReadRequest, ReplyHeader, RequestHeader, SetDataRequest, password, request, xid,
};
use ensemble_proto::jute::{Reader, Writer};
use ensemble_proto::{DecodeError, Stat};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

/// The recorded connections: `ENSEMBLE_FIXTURES`, or `shared/fixtures` beside some directory above this crate.
fn recordings() -> Vec<String> {
    let root = match std::env::var_os("ENSEMBLE_FIXTURES") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|directory| directory.join("shared/fixtures"))
            .find(|candidate| candidate.is_dir())
            .expect("no shared/fixtures above this crate: set ENSEMBLE_FIXTURES"),
    };
    std::fs::read_dir(root.join("wire-3.9.5"))
        .expect("the recordings are there")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.to_string_lossy().contains("-client-"))
        .map(|path| std::fs::read_to_string(path).expect("a recording is text"))
        .collect()
}

/// The frames that one side sent, without their lengths.
fn frames(text: &str, mark: char) -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = text.lines().filter_map(|line| line.strip_prefix(mark)).flat_map(hex).collect();
    let mut reader = Reader::new(&bytes);
    let mut frames = Vec::new();
    while !reader.is_empty() {
        frames.push(reader.buffer("frame").expect("a whole frame").expect("a length").to_vec());
    }
    frames
}

fn hex(line: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a hex digit") as u8;
    line.trim().as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Reads a request's record and writes it again; `None` for operations whose records are not read.
fn record_again(op: OpCode, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<Option<()>, DecodeError> {
    match op {
        OpCode::Create | OpCode::Create2 => CreateRequest::decode(reader)?.encode(out),
        OpCode::Delete => DeleteRequest::decode(reader)?.encode(out),
        OpCode::SetData => SetDataRequest::decode(reader)?.encode(out),
        OpCode::Exists => ReadRequest::decode(reader)?.encode(out),
        OpCode::Sync => PathRequest::decode(reader)?.encode(out),
        OpCode::Multi => MultiRequest::decode(reader)?.encode(out),
        OpCode::Ping | OpCode::CloseSession => {}
        _ => return Ok(None),
    }
    Ok(Some(()))
}

/// The same for the body of a successful reply.
fn body_again(op: OpCode, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    match op {
        OpCode::Create | OpCode::Sync => out.string(&reader.string("path")?),
        OpCode::SetData | OpCode::Exists => Stat::decode(reader)?.encode(out),
        OpCode::Multi => MultiResult::encode_all(&MultiResult::decode_all(reader)?, out),
        _ => {}
    }
    Ok(())
}

#[test]
fn recorded_client_connections_decode_and_encode_to_the_same_bytes() {
    let mut seen = BTreeMap::<OpCode, usize>::new();
    for text in recordings() {
        let mut requests = VecDeque::from(frames(&text, '>'));
        let mut replies = VecDeque::from(frames(&text, '<'));

        let frame = requests.pop_front().expect("a client connects");
        let mut again = Vec::new();
        ConnectRequest::decode(&mut Reader::new(&frame)).expect("a connect request").encode(&mut again);
        assert_eq!(again, frame);
        let frame = replies.pop_front().expect("the server answers");
        let response = ConnectResponse::decode(&mut Reader::new(&frame)).expect("a connect response");
        assert_eq!(response.password, password(response.session), "the password is the one that Java gives");
        let mut again = Vec::new();
        response.encode(&mut again);
        assert_eq!(again, frame);

        for frame in requests {
            let mut reader = Reader::new(&frame);
            let header = RequestHeader::decode(&mut reader).expect("a header");
            let op = OpCode::try_from(header.op).expect("an opcode");
            let mut record = Vec::new();
            if record_again(op, &mut reader, &mut record).expect("a record").is_none() {
                replies.pop_front();
                continue;
            }
            let mut again = Vec::new();
            request(&mut again, header.xid, op, |out| out.put(&record));
            assert_eq!(again[4..], frame, "{op:?}");
            assert!(reader.is_empty(), "{op:?}");
            *seen.entry(op).or_default() += 1;

            let Some(frame) = replies.pop_front() else { continue };
            let mut reader = Reader::new(&frame);
            let reply = ReplyHeader::decode(&mut reader).expect("a reply header");
            assert_eq!(reply.xid, if op == OpCode::Ping { xid::PING } else { header.xid });
            let mut again = Vec::new();
            reply.encode(&mut again);
            if reply.error.is_ok() {
                body_again(op, &mut reader, &mut again).expect("a body");
            }
            assert_eq!(again, frame, "{op:?}");
        }
    }
    for op in
        [OpCode::Create, OpCode::Delete, OpCode::SetData, OpCode::Exists, OpCode::Sync, OpCode::Multi, OpCode::Ping]
    {
        assert!(seen.contains_key(&op), "{op:?} was not recorded: {seen:?}");
    }
}
