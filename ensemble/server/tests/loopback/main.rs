//! Real servers on loopback, spoken to by sockets: what a person's client, probe or script would see.
//!
//! Ports are chosen by the system. Every wait is for a condition, bounded by [`world::PATIENCE`].

// A test that cannot go on should say where.
#![allow(clippy::unwrap_used)]

mod addresses;
mod admin;
mod admission;
mod audit;
mod bad_input;
mod client;
mod clients;
mod commands;
mod configuration;
mod dev;
mod digest;
mod disk;
mod ensemble;
mod joining;
mod keepalive;
mod local_sessions;
mod log_lines;
mod metrics;
mod pauses;
mod process;
mod read_only;
mod reconfigure;
mod recovery;
mod synchronisation;
mod tls;
mod tools;
mod transfer;
mod volumes;
mod words;
mod world;
mod zk;
