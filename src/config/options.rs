//! `options!`: an option in one entry. It becomes a field of the section's struct, under its name in the configuration, and
//! a [`Key`](super::key::Key) of the section's `KEYS` with its default.
//!
//! ```text
//! options! {
//!     /// What the struct is.
//!     Name in "section." {
//!         /// What a reader of the field should know, and how serde reads it where the type does not say.
//!         field: Type = <default as JSON>, "nameInTheConfiguration": <Kind>, "for the reference of the options",
//!             also ["other.spelling"], variant ("limits.memory", <Kind>);
//!     }
//!     with { inner: Inner = "inner"; }
//! }
//! ```
//!
//! `null` is no value, or a default that depends on other options or on the host (`derive.rs`).

macro_rules! options {
    (
        $(#[$meta:meta])*
        $section:ident in $prefix:literal {
            $(
                $(#[$field_meta:meta])*
                $field:ident: $type:ty = $default:tt, $name:literal: $kind:expr, $meaning:literal
                $(, also $synonyms:tt)?
                $(, variant ($variant:literal, $variant_kind:expr))?;
            )*
        }
        $(with { $($(#[$inner_meta:meta])* $inner:ident: $inner_type:ty = $inner_name:literal;)* })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $section {
            $($(#[$field_meta])* #[serde(rename = $name)] pub $field: $type,)*
            $($($(#[$inner_meta])* #[serde(rename = $inner_name)] pub $inner: $inner_type,)*)?
        }

        impl $section {
            pub const KEYS: &'static [$crate::config::key::Key] = &[$(
                $crate::config::key::Key::new(concat!($prefix, $name), $kind, $meaning)
                    .with_default(stringify!($default))
                    $(.also(&$synonyms))?
                    $(.variant($variant, $variant_kind))?,
            )*];
        }
    };
}

pub(super) use options;
