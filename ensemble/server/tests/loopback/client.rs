//! A client of the test: blocking, one request at a time unless told otherwise.

use crate::world::PATIENCE;
use ensemble_proto::client::{
    AclEntry, ConnectRequest, ConnectResponse, CreateRequest, OpCode, ReadRequest, ReplyHeader, SetAclRequest,
    SetDataRequest, frame, request,
};
use ensemble_proto::jute::Reader;
use ensemble_proto::{ErrorCode, SessionId, Zxid};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A session on one connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    xid: i32,
    pub(crate) session: SessionId,
    pub(crate) password: Vec<u8>,
    pub(crate) is_read_only: bool,
}

/// A reply's header and body.
pub(crate) struct Reply {
    pub(crate) xid: i32,
    pub(crate) zxid: Zxid,
    pub(crate) error: ErrorCode,
    pub(crate) body: Vec<u8>,
}

/// A connection that has said nothing.
pub(crate) fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends bytes and returns everything until the other side closes.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = open(address).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset is an end, too: the server closed while bytes were on their way.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The value of a line of `mntr`; none when there is no such line, or no answer.
pub(crate) fn mntr(address: SocketAddr, key: &str) -> Option<String> {
    let text = exchange(address, b"mntr");
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('\t').map(str::to_owned))
}

impl Client {
    /// A new session; an error when the server closes instead, as it does while nobody leads.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Client> {
        Client::attach(address, SessionId(0), &[])
    }

    /// A new session, or an old one again. A session that has ended comes back as session 0.
    pub(crate) fn attach(address: SocketAddr, session: SessionId, password: &[u8]) -> io::Result<Client> {
        Client::greet(address, session, password, false)
    }

    /// A new session, also with a server that has no quorum; whether it is one for reading only is in `is_read_only`.
    pub(crate) fn connect_to_read(address: SocketAddr) -> io::Result<Client> {
        Client::greet(address, SessionId(0), &[], true)
    }

    fn greet(address: SocketAddr, session: SessionId, password: &[u8], read_only: bool) -> io::Result<Client> {
        let mut stream = open(address)?;
        let mut bytes = Vec::new();
        let read_only = Some(read_only);
        let hello = ConnectRequest { last_zxid_seen: Zxid(0), timeout_ms: 10_000, session, password, read_only };
        frame(&mut bytes, |out| hello.encode(out));
        stream.write_all(&bytes)?;
        let answer = receive(&mut stream)?;
        let answer = ConnectResponse::decode(&mut Reader::new(&answer)).unwrap();
        let (session, password) = (answer.session, answer.password.to_vec());
        Ok(Client { stream, xid: 0, session, password, is_read_only: answer.read_only == Some(true) })
    }

    /// Queues a request without waiting for its reply.
    pub(crate) fn send(&mut self, op: OpCode, record: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.xid += 1;
        let mut bytes = Vec::new();
        request(&mut bytes, self.xid, op, record);
        self.stream.write_all(&bytes)
    }

    pub(crate) fn receive(&mut self) -> io::Result<Reply> {
        let bytes = receive(&mut self.stream)?;
        let mut reader = Reader::new(&bytes);
        let header = ReplyHeader::decode(&mut reader).unwrap();
        Ok(Reply { xid: header.xid, zxid: header.zxid, error: header.error, body: reader.rest().to_vec() })
    }

    pub(crate) fn create(&mut self, path: &str, data: &[u8]) -> io::Result<ErrorCode> {
        self.create_with(path, data, 0)
    }

    pub(crate) fn create_ephemeral(&mut self, path: &str) -> io::Result<ErrorCode> {
        self.create_with(path, b"", 1)
    }

    fn create_with(&mut self, path: &str, data: &[u8], flags: i32) -> io::Result<ErrorCode> {
        const ALL: i32 = 31;
        self.send(OpCode::Create, |out| {
            CreateRequest { path: path.into(), data: Some(data), acl: Some(vec![AclEntry::world(ALL)]), flags }
                .encode(out);
        })?;
        self.receive().map(|reply| reply.error)
    }

    /// Replaces a znode's ACL by one entry.
    pub(crate) fn set_acl(&mut self, path: &str, scheme: &str, id: &str, perms: i32) -> io::Result<ErrorCode> {
        self.send(OpCode::SetAcl, |out| {
            let entry = AclEntry { perms, scheme: Some(scheme.into()), id: Some(id.into()) };
            SetAclRequest { path: path.into(), acl: Some(vec![entry]), version: -1 }.encode(out);
        })?;
        self.receive().map(|reply| reply.error)
    }

    /// Ends the session; the connection with it.
    pub(crate) fn close(mut self) -> io::Result<ErrorCode> {
        self.send(OpCode::CloseSession, |_| {})?;
        self.receive().map(|reply| reply.error)
    }

    pub(crate) fn send_set(&mut self, path: &str, data: &[u8]) -> io::Result<()> {
        self.send(OpCode::SetData, |out| {
            SetDataRequest { path: path.into(), data: Some(data), version: -1 }.encode(out);
        })
    }

    pub(crate) fn set(&mut self, path: &str, data: &[u8]) -> io::Result<ErrorCode> {
        self.send_set(path, data)?;
        self.receive().map(|reply| reply.error)
    }

    pub(crate) fn send_get(&mut self, path: &str, watch: bool) -> io::Result<()> {
        self.send(OpCode::GetData, |out| ReadRequest { path: path.into(), watch }.encode(out))
    }

    /// The data of a znode.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<Result<Vec<u8>, ErrorCode>> {
        self.send_get(path, false)?;
        let reply = self.receive()?;
        if !reply.error.is_ok() {
            return Ok(Err(reply.error));
        }
        Ok(Ok(Reader::new(&reply.body).buffer("data").unwrap().unwrap_or_default().to_vec()))
    }
}

/// The next frame.
fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
