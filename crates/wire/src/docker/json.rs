//! Reading JSON as Go's `encoding/json` does, which is what the Engine API's clients are written
//! against: one place for its leniency, so that the types stay plain serde derives.
//!
//! - `null` leaves a field at its zero value, whatever its type;
//! - a field name matches exactly, or else without regard to ASCII case;
//! - of duplicate names the last wins;
//! - unknown fields are ignored;
//! - a list of strings may be given as one string (`Cmd`, `Entrypoint`: Go's `strslice`).
//!
//! Knows no document: the types say what they want, this says how it is read.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Number, Value};

/// Reads one JSON document; trailing non-blank bytes are an error.
///
/// # Errors
/// Malformed JSON, nesting deeper than 128, or a value of another type than the field's.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    T::deserialize(Lenient(serde_json::from_slice(bytes)?))
}

/// Reads the fields of a type whose JSON stands among another's (Go's struct embedding).
pub(super) fn embedded<T, E>(document: &Document) -> Result<T, E>
where
    T: DeserializeOwned,
    E: serde::de::Error,
{
    T::deserialize(Lenient(document.clone())).map_err(E::custom)
}

/// Reads a field that is a list of strings or one string.
pub(super) fn strings_or_one<'de, D>(deserializer: D) -> Result<Option<Vec<String>>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Either;

    impl<'de> Visitor<'de> for Either {
        type Value = Option<Vec<String>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string or a list of strings")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(vec![text.to_owned()]))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut strings = Vec::new();
            while let Some(string) = list.next_element()? {
                strings.push(string);
            }
            Ok(Some(strings))
        }
    }

    deserializer.deserialize_any(Either)
}

/// A parsed value with everything that was written: also both of two equal names, which
/// `serde_json::Value` would merge before their order is known.
#[derive(Clone, Debug)]
pub(super) enum Document {
    /// `null`, a truth value, a number or a string.
    Scalar(Value),
    /// A list.
    List(Vec<Document>),
    /// Names and values in the order in which they were written.
    Object(Vec<(String, Document)>),
}

impl Document {
    fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(Value::Null))
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Document, E> {
        Ok(Document::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Document, E> {
        Ok(Document::Scalar(Value::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Document, E> {
        Ok(Document::Scalar(Value::Number(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Document, E> {
        // JSON has no infinities; serde_json refuses numbers that would become one.
        Ok(Document::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Document, E> {
        Ok(Document::Scalar(Value::String(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Document, E> {
        Ok(Document::Scalar(Value::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Document, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Document::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Document::Object(entries))
    }
}

/// A parsed value that hands itself out with Go's leniency.
pub(super) struct Lenient(pub(super) Document);

impl Lenient {
    /// The scalar that a visitor of scalars gets; lists and objects are refused by any of them.
    fn visit_as<'de, V, F>(self, visitor: V, read: F) -> Result<V::Value, Error>
    where
        V: Visitor<'de>,
        F: FnOnce(Value, V) -> Result<V::Value, Error>,
    {
        match self.0 {
            Document::Scalar(value) => read(value, visitor),
            _ => self.deserialize_any(visitor),
        }
    }
}

/// A `null` where `$visit` expects a scalar is the type's zero value.
macro_rules! zero_for_null {
    ($($method:ident => $visit:ident($zero:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.visit_as(visitor, |value, visitor| match value {
                Value::Null => visitor.$visit($zero),
                value => value.$method(visitor),
            })
        }
    )*};
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Document::List(items) => visitor.visit_seq(Items(items.into_iter())),
            Document::Object(entries) => visitor.visit_map(Entries::of_map(entries)),
            Document::Scalar(scalar) => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() {
            return visitor.visit_seq(Items(Vec::new().into_iter()));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() {
            return visitor.visit_map(Entries::of_map(Vec::new()));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Document::Object(entries) => visitor.visit_map(Entries::of_struct(entries, fields)),
            // serde would read a list as a struct's fields in order; Go does not.
            Document::List(_) => {
                Err(serde::de::Error::invalid_type(serde::de::Unexpected::Seq, &visitor))
            }
            Document::Scalar(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    zero_for_null! {
        deserialize_bool => visit_bool(false);
        deserialize_i8 => visit_i8(0);
        deserialize_i16 => visit_i16(0);
        deserialize_i32 => visit_i32(0);
        deserialize_i64 => visit_i64(0);
        deserialize_u8 => visit_u8(0);
        deserialize_u16 => visit_u16(0);
        deserialize_u32 => visit_u32(0);
        deserialize_u64 => visit_u64(0);
        deserialize_f32 => visit_f32(0.0);
        deserialize_f64 => visit_f64(0.0);
        deserialize_str => visit_str("");
        deserialize_string => visit_str("");
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier enum
        ignored_any
    }
}

/// A list's elements.
struct Items(std::vec::IntoIter<Document>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|value| seed.deserialize(Lenient(value))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// An object's entries, already under the names that the reader knows.
struct Entries {
    entries: std::vec::IntoIter<(String, Document)>,
    value: Option<Document>,
}

impl Entries {
    /// A map keeps every key as it is, and `null` values too: they say that the key is there.
    fn of_map(entries: Vec<(String, Document)>) -> Self {
        Self { entries: entries.into_iter(), value: None }
    }

    /// A struct gets each of its fields at most once, and never as `null`.
    fn of_struct(entries: Vec<(String, Document)>, fields: &'static [&'static str]) -> Self {
        let mut known: Vec<(String, Document)> = Vec::new();
        for (name, value) in entries {
            let exact = fields.iter().find(|field| **field == name);
            let field = exact.or_else(|| fields.iter().find(|f| f.eq_ignore_ascii_case(&name)));
            let Some(field) = field.filter(|_| !value.is_null()) else { continue };
            match known.iter_mut().find(|(name, _)| name == field) {
                Some((_, earlier)) => *earlier = value,
                None => known.push(((*field).to_owned(), value)),
            }
        }
        Self::of_map(known)
    }
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let name: StringDeserializer<Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        // `None` would mean that the visitor asked for a value before its key.
        seed.deserialize(Lenient(self.value.take().unwrap_or(Document::Scalar(Value::Null))))
    }
}
