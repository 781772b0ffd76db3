//! Quotas that a leader enforces.

mod common;

use common::{World, create};
use ensemble_peer::ClientId;
use ensemble_proto::client::{AclEntry, CreateRequest, OpCode};
use ensemble_proto::{Acl, ErrorCode};

fn create_with(world: &mut World, client: ClientId, path: &str, data: &str) {
    let acl = Some(vec![AclEntry::world(Acl::ALL)]);
    let request = CreateRequest { path: path.into(), data: Some(data.as_bytes()), acl, flags: 0 };
    world.request(0, client, 1, OpCode::Create, |out| request.encode(out));
}

#[test]
fn what_a_quota_refuses_is_counted_by_namespace() {
    let mut world = World::with(0, |config| config.enforce_quota = true);
    let (client, _) = world.session(0);
    create(&mut world, 0, client, 1, "/a", 0);
    create_with(&mut world, client, "/zookeeper/quota/a", "");
    let limits = "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=2";
    create_with(&mut world, client, "/zookeeper/quota/a/zookeeper_limits", limits);
    create_with(&mut world, client, "/zookeeper/quota/a/zookeeper_stats", "");
    create(&mut world, 0, client, 1, "/a/b", 0);
    assert_eq!(world.errors(0, client), [ErrorCode::OK; 5]);
    for path in ["/a/c", "/b", "/a/b/d"] {
        create(&mut world, 0, client, 1, path, 0);
    }
    let exceeded = ErrorCode::QUOTA_EXCEEDED;
    assert_eq!(world.errors(0, client), [exceeded, ErrorCode::OK, exceeded]);
    let counted = &world.peers[0].measures().quota_exceeded_error_per_namespace;
    assert_eq!(counted.by_name().collect::<Vec<_>>(), [("a", 2)]);
}
