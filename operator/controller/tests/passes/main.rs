//! The operator's passes against a cluster in memory: the API server and the servers of one ensemble, with faults at each call.

mod fake;

mod expansion;
mod founding;
mod invalid;
mod lost_node;
mod monitoring;
mod rebuilding;
mod recovery;
mod rolling;
mod scaling;
mod two_operators;
