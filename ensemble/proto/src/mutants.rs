//! Switches of the servers' crates that break one promise each, so that tests and the simulator can show that they notice.

/// Makes the `Mutants` of a crate from documented names: which promises are broken, with a question `name()` for each switch.
///
/// The switches exist only under the feature `mutants` of the crate that calls this, which no shipped binary has: otherwise every question
/// is a constant `false`.
#[macro_export]
macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Which promises are broken. The default breaks none.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Mutants {
            $($(#[$doc])* #[cfg(feature = "mutants")] pub $name: bool,)*
        }

        #[allow(dead_code, reason = "some switches act only on what exists with the feature")]
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
