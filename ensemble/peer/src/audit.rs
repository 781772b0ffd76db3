//! What the audit log tells (`AuditHelper.java`): the writes of clients of this server, when their outcome is known, and the ephemeral
//! znodes that went with a session.
//!
//! A write is told by the server that its client was connected to, also when the client has gone meanwhile. One that this server has sent
//! to a leader which it then lost is not: nobody here knows what becomes of it. Deletions with a session are told by every server that
//! serves clients then, and not again when it starts or catches up. Differs from ZooKeeper, which repeats them at each start.

use crate::read::user;
use crate::{Effect, Peer};
use ensemble_datatree::{EventKind, Outcome};
use ensemble_proto::client::{
    AclEntry, CreateFlags, CreateRequest, CreateTtlRequest, DeleteRequest, MultiOp, MultiRequest, OpCode,
    SetAclRequest, SetDataRequest,
};
use ensemble_proto::jute::Reader;
use ensemble_proto::quorum::AuthId;
use ensemble_proto::txn::{Txn, TxnRecord};
use ensemble_proto::{Acl, DecodeError, SessionId};
use std::net::IpAddr;

/// One line of the audit log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Audit {
    /// The session that asked, or that ended.
    pub session: SessionId,
    /// Who asked; `None` for what the ensemble did by itself.
    pub asker: Option<AuditAsker>,
    /// What was done.
    pub operation: AuditOperation,
    /// The znode, where it is one.
    pub path: Option<String>,
    /// What kind of znode was created, in ZooKeeper's word.
    pub znode_type: Option<&'static str>,
    /// The list that was set.
    pub acl: Option<String>,
    /// Whether it had an effect.
    pub is_success: bool,
}

/// Who asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditAsker {
    /// Names of the connection's identities, without secrets, with commas.
    pub users: String,
    /// Where the connection came from.
    pub address: IpAddr,
}

/// What is audited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditOperation {
    /// A znode of any kind.
    Create,
    /// A znode.
    Delete,
    /// A znode's data.
    SetData,
    /// A znode's list.
    SetAcl,
    /// Several at once, which failed; of those that succeed each is told.
    Multi,
    /// The ensemble.
    Reconfig,
    /// A znode went with its session.
    EphemeralDeletion,
}

/// A write of a client whose outcome is not known yet.
pub(crate) struct Asked {
    asker: AuditAsker,
    subject: Subject,
}

enum Subject {
    Create {
        path: String,
        znode_type: Option<&'static str>,
    },
    Delete {
        path: String,
    },
    SetData {
        path: String,
    },
    SetAcl {
        path: String,
        acl: String,
    },
    /// What kinds of znodes are created, by the paths that were asked for.
    Multi(Vec<(String, &'static str)>),
    Reconfig,
}

impl Asked {
    /// `None` for what is not audited.
    pub(crate) fn new(op: i32, body: &[u8], identities: &[AuthId], address: IpAddr) -> Option<Box<Asked>> {
        let subject = Subject::of(OpCode::try_from(op).ok()?, body)?;
        let names: Vec<_> = identities.iter().rev().map(user).filter(|name| !name.is_empty()).collect();
        Some(Box::new(Asked { asker: AuditAsker { users: names.join(","), address }, subject }))
    }
}

impl Subject {
    /// A request that does not decode fails, and has no path.
    fn of(op: OpCode, body: &[u8]) -> Option<Subject> {
        let mut body = Reader::new(body);
        let path = |path: Result<String, DecodeError>| path.unwrap_or_default();
        Some(match op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => match CreateRequest::decode(&mut body) {
                Ok(CreateRequest { path, flags, .. }) => {
                    Subject::Create { path: path.into_owned(), znode_type: znode_type(flags) }
                }
                Err(_) => Subject::Create { path: String::new(), znode_type: None },
            },
            OpCode::CreateTtl => match CreateTtlRequest::decode(&mut body) {
                Ok(CreateTtlRequest { create, .. }) => {
                    Subject::Create { path: create.path.into_owned(), znode_type: znode_type(create.flags) }
                }
                Err(_) => Subject::Create { path: String::new(), znode_type: None },
            },
            OpCode::Delete => {
                Subject::Delete { path: path(DeleteRequest::decode(&mut body).map(|r| r.path.into_owned())) }
            }
            OpCode::SetData => {
                Subject::SetData { path: path(SetDataRequest::decode(&mut body).map(|r| r.path.into_owned())) }
            }
            OpCode::SetAcl => match SetAclRequest::decode(&mut body) {
                Ok(SetAclRequest { path, acl, .. }) => {
                    let acl = acl.unwrap_or_default().iter().map(entry).collect();
                    Subject::SetAcl { path: path.into_owned(), acl }
                }
                Err(_) => Subject::SetAcl { path: String::new(), acl: String::new() },
            },
            OpCode::Multi => {
                Subject::Multi(MultiRequest::decode(&mut body).map(|multi| created(&multi)).unwrap_or_default())
            }
            OpCode::Reconfig => Subject::Reconfig,
            _ => return None,
        })
    }
}

/// Differs from ZooKeeper: which does not tell the kind of a znode with a time to live.
fn created(multi: &MultiRequest<'_>) -> Vec<(String, &'static str)> {
    let create = |op: &MultiOp<'_>| {
        let request = match op {
            MultiOp::Create { request, .. } | MultiOp::CreateContainer(request) => request,
            MultiOp::CreateTtl(request) => &request.create,
            MultiOp::Delete(_) | MultiOp::SetData(_) | MultiOp::Check(_) => return None,
        };
        Some((request.path.to_string(), znode_type(request.flags)?))
    };
    multi.ops.iter().filter_map(create).collect()
}

/// `CreateMode`, in lower case.
fn znode_type(flags: i32) -> Option<&'static str> {
    Some(match CreateFlags::from_flags(flags)? {
        CreateFlags::Plain { ephemeral: false, sequential: false } => "persistent",
        CreateFlags::Plain { ephemeral: true, sequential: false } => "ephemeral",
        CreateFlags::Plain { ephemeral: false, sequential: true } => "persistent_sequential",
        CreateFlags::Plain { ephemeral: true, sequential: true } => "ephemeral_sequential",
        CreateFlags::Container => "container",
        CreateFlags::Ttl { sequential: false } => "persistent_with_ttl",
        CreateFlags::Ttl { sequential: true } => "persistent_sequential_with_ttl",
    })
}

/// `ZKUtil.aclToString`.
fn entry(entry: &AclEntry<'_>) -> String {
    let perms = [(Acl::CREATE, 'c'), (Acl::DELETE, 'd'), (Acl::READ, 'r'), (Acl::WRITE, 'w'), (Acl::ADMIN, 'a')];
    let perms: String = perms.iter().filter(|(perm, _)| entry.perms & perm != 0).map(|(_, letter)| letter).collect();
    format!("{}:{}:{perms}", entry.scheme.as_deref().unwrap_or_default(), entry.id.as_deref().unwrap_or_default())
}

/// What a transaction of a client's is told as: one line, or one for each part of a multi that succeeded.
fn lines(asked: Asked, record: &TxnRecord, outcome: &Outcome<'_>) -> Vec<Audit> {
    let Asked { asker, subject } = asked;
    let is_success = outcome.error.is_ok();
    let line = |operation, path: Option<&str>, znode_type, acl, is_success| Audit {
        session: record.header.session,
        asker: Some(asker.clone()),
        operation,
        path: path.filter(|path| !path.is_empty()).map(str::to_owned),
        znode_type,
        acl,
        is_success,
    };
    match subject {
        Subject::Create { path, znode_type } => {
            vec![line(AuditOperation::Create, outcome.path.or(Some(&path)), znode_type, None, is_success)]
        }
        Subject::Delete { path } => vec![line(AuditOperation::Delete, Some(&path), None, None, is_success)],
        Subject::SetData { path } => vec![line(AuditOperation::SetData, Some(&path), None, None, is_success)],
        Subject::SetAcl { path, acl } => vec![line(AuditOperation::SetAcl, Some(&path), None, Some(acl), is_success)],
        Subject::Reconfig => {
            let path = is_success.then_some(ensemble_datatree::CONFIG_PATH);
            vec![line(AuditOperation::Reconfig, path, None, None, is_success)]
        }
        Subject::Multi(created) => {
            let Txn::Multi(txns) = &record.txn else {
                return vec![line(AuditOperation::Multi, None, None, None, false)];
            };
            if txns.iter().any(|txn| matches!(txn, Txn::Error(_))) {
                return vec![line(AuditOperation::Multi, None, None, None, false)];
            }
            let kind = |path: &str| created.iter().find(|(asked, _)| asked == path).map(|(_, znode_type)| *znode_type);
            let part = |txn: &Txn| match txn {
                Txn::Create(create) | Txn::Create2(create) | Txn::CreateContainer(create) => {
                    Some(line(AuditOperation::Create, Some(&create.path), kind(&create.path), None, true))
                }
                Txn::CreateTtl { create, .. } => {
                    Some(line(AuditOperation::Create, Some(&create.path), kind(&create.path), None, true))
                }
                Txn::Delete { path } => Some(line(AuditOperation::Delete, Some(path), None, None, true)),
                Txn::SetData(set) => Some(line(AuditOperation::SetData, Some(&set.path), None, None, true)),
                _ => None,
            };
            txns.iter().filter_map(part).collect()
        }
    }
}

impl Peer {
    /// Tells of a client's write.
    pub(crate) fn audit_write(&mut self, asked: Asked, record: &TxnRecord, outcome: &Outcome<'_>) {
        let lines = lines(asked, record, outcome);
        self.effects.extend(lines.into_iter().map(|line| Effect::Audit(Box::new(line))));
    }

    /// Tells of what went with a session.
    pub(crate) fn audit_end(&mut self, session: SessionId, outcome: &Outcome<'_>) {
        if !self.config.audit || self.office.is_none() {
            return;
        }
        for event in outcome.events.iter().filter(|event| event.kind == EventKind::Deleted) {
            let line = Audit {
                session,
                asker: None,
                operation: AuditOperation::EphemeralDeletion,
                path: Some(event.path.to_string()),
                znode_type: None,
                acl: None,
                is_success: true,
            };
            self.effects.push_back(Effect::Audit(Box::new(line)));
        }
    }
}
