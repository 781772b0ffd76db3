//! Switches that break one promise each of a server to its clients, so that the simulator can show that it notices.
//!
//! They exist only under the feature `mutants`, which no shipped binary has: otherwise every question is a constant `false`.

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Which promises are broken. The default breaks none.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Mutants {
            $($(#[$doc])* #[cfg(feature = "mutants")] pub $name: bool,)*
        }

        impl Mutants {
            /// The names of all switches; none without the feature.
            pub const NAMES: &'static [&'static str] = &[$(#[cfg(feature = "mutants")] stringify!($name),)*];

            /// Breaks the promise `name` and no other; `None` for an unknown name.
            #[cfg(feature = "mutants")]
            pub fn only(name: &str) -> Option<Mutants> {
                let mut mutants = Mutants::default();
                match name {
                    $(stringify!($name) => mutants.$name = true,)*
                    _ => return None,
                }
                Some(mutants)
            }

            $(pub(crate) const fn $name(self) -> bool {
                #[cfg(feature = "mutants")]
                return self.$name;
                #[cfg(not(feature = "mutants"))]
                return false;
            })*
        }
    };
}

mutants! {
    /// ZOOKEEPER-3127: a snapshot claims transactions that the tree does not have yet.
    zkb_20,
    /// ZOOKEEPER-4837, -5010: a request that comes after its session's end still takes effect.
    zkb_25,
    /// A leader ends the sessions of a learner that it does not hear, though their clients are heard there.
    unheard_learner,
    /// A client that sends nothing but PINGs is taken for silent.
    ping_is_no_sign,
    /// A server that a session has left still writes for it (ZOOKEEPER's SESSION_MOVED is never said).
    moved_session_writes,
    /// A client that has seen more than this server is served all the same.
    behind_client,
    /// A new leader counts the silence of sessions from before it took office.
    clocks_do_not_restart,
    /// The answer to a write leaves before the events that the write fires.
    answer_before_event,
    /// setWatches does not look at what happened while the client was away.
    missed_events,
    /// A learner forwards a write a second time.
    forwarded_twice,
}
