//! The two planes between servers.
//!
//! * The **quorum port** carries [`QuorumPacket`]s, bare jute records without a length prefix, and after a SNAP packet
//!   one raw snapshot stream. [`PacketDecoder`] cuts the byte stream into both.
//! * The **election port** carries one [`InitialMessage`] from the side that connected, then length-prefixed
//!   [`Notification`]s in both directions. [`ElectionDecoder`] cuts that stream.
//!
//! Layouts only: what a packet means is `ensemble-zab`'s affair. Every decoder is total and bounded: an oversized or
//! malformed field is a [`DecodeError`](crate::DecodeError) that names it, and the connection it came from is to be
//! closed. Sources: `zookeeper.jute` (module `quorum`), `Leader.java`, `Learner.java`, `LearnerHandler.java`,
//! `QuorumCnxManager.java`, `FastLeaderElection.java` of ZooKeeper 3.9.

mod decoder;
mod election;
mod packet;
mod session;

pub use decoder::{Decoded, PacketDecoder, SNAPSHOT_SIGNATURE};
pub use election::{
    ElectionDecoder, ElectionMessage, InitialMessage, NOTIFICATION_BYTES_MAX, NOTIFICATION_VERSION, Notification,
    ServerState,
};
pub use packet::{AUTH_IDS_MAX, AuthId, LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket};
pub use session::{
    ForwardedRequest, Revalidation, decode_revalidate_answer, decode_revalidate_question, decode_touched,
    encode_revalidate_answer, encode_revalidate_question, encode_touched,
};
