//! `kubectl zke`: what an ensemble does and waits for, on one screen, and the changes that a person asks for.
//!
//! ```text
//!   kubeconfig ──► read ──► Seen ──► screen, list, advice ──► text
//!                  (the resource, pods, claims, events, and each server's own answer through a port-forward)
//!   change ──► one merge patch of the resource; the operator does the rest
//!   leader ──► POST /leader/transfer at the leader's admin port
//! ```
//!
//! What is printed is a function of what was read ([`screen::screen`]); `tests/screens` holds a folder a situation. What is wrong with a
//! server is judged by `operator-core`, so that this screen and the operator's conditions use the same words.
//!
//! The plugin acts with the rights of whoever runs it, and holds none of its own. It writes to the resource only, never to the objects of
//! the operator. The token of the admin port is read when an office is to be handed over, and is never printed.

pub mod advice;
pub mod change;
pub mod cluster;
pub mod fault;
pub mod forward;
pub mod leader;
pub mod list;
pub mod read;
pub mod recover;
pub mod screen;
pub mod seen;
pub mod server;
pub mod shell;
pub mod text;
