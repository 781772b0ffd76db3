//! A transaction as text (`TxnLogToolkit.getFormattedTxnStr`, `Request.op2String`, jute's `toString`) and as JSON.
//!
//! Differs from ZooKeeper: what a multi holds is told as it is told alone, where ZooKeeper prints the bytes of its record.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ensemble_proto::client::OpCode;
use ensemble_proto::txn::{CreateTxn, SetDataTxn, Txn, TxnRecord};
use ensemble_proto::{Acl, date};
use serde_json::{Map, Value, json};

/// The name of a type.
pub(crate) fn type_name(op: OpCode) -> &'static str {
    match op {
        OpCode::Notification => "notification",
        OpCode::Create => "create",
        OpCode::Delete => "delete",
        OpCode::Exists => "exists",
        OpCode::GetData => "getData",
        OpCode::SetData => "setData",
        OpCode::GetAcl => "getACL",
        OpCode::SetAcl => "setACL",
        OpCode::GetChildren => "getChildren",
        OpCode::Sync => "sync",
        OpCode::Ping => "ping",
        OpCode::GetChildren2 => "getChildren2",
        OpCode::Check => "check",
        OpCode::Multi => "multi",
        OpCode::Create2 => "create2",
        OpCode::Reconfig => "reconfig",
        OpCode::CheckWatches => "checkWatches",
        OpCode::RemoveWatches => "removeWatches",
        OpCode::CreateContainer => "createContainer",
        OpCode::DeleteContainer => "deleteContainer",
        OpCode::CreateTtl => "createTTL",
        OpCode::MultiRead => "multiRead",
        OpCode::Auth => "auth",
        OpCode::SetWatches => "setWatches",
        OpCode::Sasl => "sasl",
        OpCode::GetEphemerals => "getEphemerals",
        OpCode::GetAllChildrenNumber => "getAllChildrenNumber",
        OpCode::SetWatches2 => "setWatches2",
        OpCode::AddWatch => "addWatch",
        OpCode::WhoAmI => "whoAmI",
        OpCode::CreateSession => "createSession",
        OpCode::CloseSession => "closeSession",
        OpCode::Error => "error",
    }
}

/// The line of a record; it may have line ends within.
pub(crate) fn line(record: &TxnRecord) -> String {
    let TxnRecord { header, txn, digest: _ } = record;
    let (session, cxid, zxid) = (header.session.0, header.cxid, header.zxid.0);
    let (when, kind) = (date::short(header.time_ms), type_name(txn.op()));
    let mut line = format!("{when} session 0x{session:x} cxid 0x{cxid:x} zxid 0x{zxid:x} {kind} {}", text(txn));
    if line.ends_with('\n') {
        line.pop();
    }
    line
}

fn text(txn: &Txn) -> String {
    match txn {
        Txn::CreateSession { timeout_ms } => format!("{timeout_ms}\n"),
        Txn::CloseSession { paths: None } => String::new(),
        Txn::CloseSession { paths: Some(paths) } => {
            let paths: Vec<_> = paths.iter().map(|path| csv(path)).collect();
            format!("v{{{}}}\n", paths.join(","))
        }
        Txn::Error(code) => format!("{}\n", code.0),
        Txn::Create(create) | Txn::Create2(create) => {
            let CreateTxn { path, data, acl, ephemeral, parent_cversion } = create;
            format!("{path},{},{},{ephemeral},{parent_cversion}", data_text(data.as_deref()), acl_text(acl.as_deref()))
        }
        Txn::CreateContainer(create) => container_text(create),
        Txn::CreateTtl { create, ttl_ms } => format!("{},{ttl_ms}", container_text(create)),
        Txn::Delete { path } | Txn::DeleteContainer { path } => format!("{}\n", csv(path)),
        Txn::SetData(set) | Txn::Reconfig(set) => {
            format!("{},{},{}", set.path, data_text(set.data.as_deref()), set.version)
        }
        Txn::SetAcl { path, acl, version } => {
            let list = acl.as_deref().unwrap_or_default();
            let list: Vec<_> = list.iter().map(|acl| format!("s{{{}}}", acl_csv(acl))).collect();
            format!("{},v{{{}}},{version}\n", csv(path), list.join(","))
        }
        Txn::Check { path, version } => format!("{path},{version}"),
        Txn::Multi(parts) => {
            let part = |part: &Txn| format!("{}:{}", type_name(part.op()), text(part).trim_end_matches('\n'));
            parts.iter().map(part).collect::<Vec<_>>().join(";")
        }
    }
}

fn container_text(create: &CreateTxn) -> String {
    let CreateTxn { path, data, acl, ephemeral: _, parent_cversion } = create;
    format!("{path},{},{},{parent_cversion}", data_text(data.as_deref()), acl_text(acl.as_deref()))
}

fn data_text(data: Option<&[u8]>) -> String {
    String::from_utf8_lossy(data.unwrap_or_default()).into_owned()
}

/// As Java prints a list of records, each of which ends its line.
fn acl_text(acl: Option<&[Acl]>) -> String {
    match acl {
        None => "null".to_owned(),
        Some(list) => {
            format!("[{}]", list.iter().map(|acl| format!("{}\n", acl_csv(acl))).collect::<Vec<_>>().join(", "))
        }
    }
}

fn acl_csv(acl: &Acl) -> String {
    format!("{},s{{{},{}}}", acl.perms, csv(&acl.scheme), csv(&acl.id))
}

/// A string as jute's text form writes it (`Utils.toCSVString`).
fn csv(text: &str) -> String {
    let mut out = String::from("'");
    for character in text.chars() {
        match character {
            '\0' => out.push_str("%00"),
            '\n' => out.push_str("%0A"),
            '\r' => out.push_str("%0D"),
            ',' => out.push_str("%2C"),
            '}' => out.push_str("%7D"),
            '%' => out.push_str("%25"),
            other => out.push(other),
        }
    }
    out
}

/// A record for programs. Data that is no UTF-8 is told as `dataBase64`.
pub(crate) fn record_json(record: &TxnRecord) -> Map<String, Value> {
    let TxnRecord { header, txn, digest } = record;
    let mut object = Map::new();
    object.insert("zxid".into(), json!(format!("{:#x}", header.zxid.0)));
    object.insert("time".into(), json!(date::rfc3339(header.time_ms)));
    object.insert("session".into(), json!(format!("{:#x}", header.session.0)));
    object.insert("cxid".into(), json!(header.cxid));
    object.append(&mut txn_json(txn));
    if let Some(digest) = digest {
        object.insert("digest".into(), json!({ "version": digest.version, "treeDigest": digest.tree_digest }));
    }
    object
}

fn txn_json(txn: &Txn) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("type".into(), json!(type_name(txn.op())));
    match txn {
        Txn::CreateSession { timeout_ms } => drop(object.insert("timeoutMs".into(), json!(timeout_ms))),
        Txn::CloseSession { paths } => drop(object.insert("paths".into(), json!(paths))),
        Txn::Error(code) => {
            object.insert("code".into(), json!(code.0));
            object.insert("error".into(), json!(code.to_string()));
        }
        Txn::Create(create) | Txn::Create2(create) => {
            create_json(create, &mut object);
            object.insert("ephemeral".into(), json!(create.ephemeral));
        }
        Txn::CreateContainer(create) => create_json(create, &mut object),
        Txn::CreateTtl { create, ttl_ms } => {
            create_json(create, &mut object);
            object.insert("ttlMs".into(), json!(ttl_ms));
        }
        Txn::Delete { path } | Txn::DeleteContainer { path } => drop(object.insert("path".into(), json!(path))),
        Txn::SetData(set) | Txn::Reconfig(set) => {
            let SetDataTxn { path, data, version } = set;
            object.insert("path".into(), json!(path));
            data_json(data.as_deref(), &mut object);
            object.insert("version".into(), json!(version));
        }
        Txn::SetAcl { path, acl, version } => {
            object.insert("path".into(), json!(path));
            object.insert("acl".into(), acl_json(acl.as_deref()));
            object.insert("version".into(), json!(version));
        }
        Txn::Check { path, version } => {
            object.insert("path".into(), json!(path));
            object.insert("version".into(), json!(version));
        }
        Txn::Multi(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| Value::Object(txn_json(part))).collect();
            object.insert("txns".into(), Value::Array(parts));
        }
    }
    object
}

fn create_json(create: &CreateTxn, object: &mut Map<String, Value>) {
    object.insert("path".into(), json!(create.path));
    data_json(create.data.as_deref(), object);
    object.insert("acl".into(), acl_json(create.acl.as_deref()));
    object.insert("parentCVersion".into(), json!(create.parent_cversion));
}

/// Null, text, or bytes.
pub(crate) fn data_json(data: Option<&[u8]>, object: &mut Map<String, Value>) {
    match data.map(std::str::from_utf8) {
        None => object.insert("data".into(), Value::Null),
        Some(Ok(text)) => object.insert("data".into(), json!(text)),
        Some(Err(_)) => object.insert("dataBase64".into(), json!(STANDARD.encode(data.unwrap_or_default()))),
    };
}

pub(crate) fn acl_json(acl: Option<&[Acl]>) -> Value {
    let entry = |acl: &Acl| json!({ "scheme": acl.scheme, "id": acl.id, "perms": perms(acl.perms) });
    acl.map_or(Value::Null, |list| list.iter().map(entry).collect())
}

/// `cdrwa`, as zkCli prints permissions; bits that have no letter are left out.
fn perms(bits: i32) -> String {
    let letters = [(Acl::CREATE, 'c'), (Acl::DELETE, 'd'), (Acl::READ, 'r'), (Acl::WRITE, 'w'), (Acl::ADMIN, 'a')];
    letters.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, letter)| letter).collect()
}
