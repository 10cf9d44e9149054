//! How a value of the model becomes what is written, and back. A stored type is declared once,
//! field by field, beside the model's: what is on disk changes only when its declaration does, and
//! a field that the model gains does not compile until somebody decided how it is stored.

use model::signal::Signal;
use model::{ContainerId, ContainerName, Denied, Digest, NetworkId, Timestamp};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `Self` is the stored form of `M`.
pub(super) trait Stored<M>: Sized {
    fn store(value: &M) -> Self;
    fn load(self) -> Result<M, Denied>;
}

macro_rules! as_is {
    ($($ty:ty),* $(,)?) => {$(
        impl Stored<$ty> for $ty {
            fn store(value: &$ty) -> Self {
                value.clone()
            }
            fn load(self) -> Result<$ty, Denied> {
                Ok(self)
            }
        }
    )*};
}

as_is!(bool, u8, u16, u32, u64, i32, i64, usize, String, IpAddr, Ipv4Addr, Ipv6Addr, [u8; 6]);

macro_rules! as_text {
    ($($ty:ty),* $(,)?) => {$(
        impl Stored<$ty> for String {
            fn store(value: &$ty) -> Self {
                value.to_string()
            }
            fn load(self) -> Result<$ty, Denied> {
                <$ty>::parse(&self)
            }
        }
    )*};
}

as_text!(ContainerId, NetworkId, ContainerName, Digest);

impl Stored<Timestamp> for i64 {
    fn store(value: &Timestamp) -> Self {
        value.0
    }
    fn load(self) -> Result<Timestamp, Denied> {
        Ok(Timestamp(self))
    }
}

impl Stored<Signal> for i32 {
    fn store(value: &Signal) -> Self {
        value.number()
    }
    fn load(self) -> Result<Signal, Denied> {
        Signal::parse(&self.to_string())
    }
}

impl<S: Stored<M>, M> Stored<Option<M>> for Option<S> {
    fn store(value: &Option<M>) -> Self {
        value.as_ref().map(S::store)
    }
    fn load(self) -> Result<Option<M>, Denied> {
        self.map(S::load).transpose()
    }
}

impl<S: Stored<M>, M> Stored<Vec<M>> for Vec<S> {
    fn store(value: &Vec<M>) -> Self {
        value.iter().map(S::store).collect()
    }
    fn load(self) -> Result<Vec<M>, Denied> {
        self.into_iter().map(S::load).collect()
    }
}

impl<S: Stored<M>, M> Stored<BTreeMap<String, M>> for BTreeMap<String, S> {
    fn store(value: &BTreeMap<String, M>) -> Self {
        value.iter().map(|(key, value)| (key.clone(), S::store(value))).collect()
    }
    fn load(self) -> Result<BTreeMap<String, M>, Denied> {
        self.into_iter().map(|(key, value)| Ok((key, value.load()?))).collect()
    }
}

impl<S: Stored<M>, T: Stored<N>, M, N> Stored<(M, N)> for (S, T) {
    fn store((a, b): &(M, N)) -> Self {
        (S::store(a), T::store(b))
    }
    fn load(self) -> Result<(M, N), Denied> {
        Ok((self.0.load()?, self.1.load()?))
    }
}

/// Declares stored forms of structs: `struct Name = path::Of::Model { field: StoredType, … }`. A
/// field that came later has `#[serde(default)]`.
macro_rules! stored_structs {
    ($(struct $name:ident = $model:path {
        $($(#[$meta:meta])* $field:ident: $ty:ty),* $(,)?
    })*) => {$(
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct $name { $($(#[$meta])* $field: $ty),* }

        impl Stored<$model> for $name {
            fn store(value: &$model) -> Self {
                Self { $($field: Stored::store(&value.$field)),* }
            }
            fn load(self) -> Result<$model, Denied> {
                type M = $model;
                Ok(M { $($field: self.$field.load()?),* })
            }
        }
    )*};
}

/// Declares stored forms of enums; a tuple variant's one field is given a name.
macro_rules! stored_enums {
    ($(enum $name:ident = $model:path {
        $($variant:ident $({ $($(#[$meta:meta])* $field:ident: $ty:ty),* $(,)? })?
            $(($inner:ident: $inner_ty:ty))?),*
        $(,)?
    })*) => {$(
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(super) enum $name {
            $($variant $({ $($(#[$meta])* $field: $ty),* })? $(($inner_ty))?),*
        }

        impl Stored<$model> for $name {
            fn store(value: &$model) -> Self {
                type M = $model;
                match value {
                    $(M::$variant $({ $($field),* })? $(($inner))? => {
                        Self::$variant
                            $({ $($field: Stored::store($field)),* })?
                            $((Stored::store($inner)))?
                    })*
                }
            }
            fn load(self) -> Result<$model, Denied> {
                type M = $model;
                Ok(match self {
                    $(Self::$variant $({ $($field),* })? $(($inner))? => {
                        M::$variant
                            $({ $($field: $field.load()?),* })?
                            $(($inner.load()?))?
                    })*
                })
            }
        }
    )*};
}

pub(super) use {stored_enums, stored_structs};
