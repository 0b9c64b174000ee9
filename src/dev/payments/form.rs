//! Bodies and queries as Stripe takes them: form-encoded, nested fields named as in `metadata[order_id]`.

use std::collections::BTreeMap;

use super::refusal::Refusal;

/// Fields of a body.
const FIELDS: usize = 200;
/// Keys of `metadata`, the characters of one, and those of a value: Stripe's own bounds.
const METADATA_KEYS: usize = 50;
const METADATA_KEY_CHARS: usize = 40;
const METADATA_VALUE_CHARS: usize = 500;

/// Fields by their full names.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Reads a body or a query. A field that comes twice is an error.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(bytes) {
            let twice = fields.insert(name.to_string(), value.into_owned());
            if twice.is_some() || fields.len() > FIELDS {
                return Err(Refusal::parameter(
                    "parameter_invalid_string",
                    &name,
                    "it is given twice, or there are too many",
                ));
            }
        }
        Ok(Self(fields))
    }

    /// The same for the same fields, in whatever order they came.
    pub(super) fn canonical(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn need(&self, name: &str) -> Result<&str, Refusal> {
        let missing = || Refusal::parameter("parameter_missing", name, "it is missing");
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(missing)
    }

    /// The values of `name[0]`, `name[1]`, ….
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let is_of = |field: &str| {
            let rest = field.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('[') && rest.ends_with(']'))
        };
        let fields = self.0.iter().filter(|(field, _)| is_of(field));
        fields.map(|(_, value)| value.as_str()).collect()
    }

    /// A whole number within bounds.
    pub(super) fn number(
        &self,
        name: &str,
        bounds: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let number = text
            .parse()
            .ok()
            .filter(|number| bounds.contains(number) && !text.starts_with('+'));
        let wrong = || {
            let detail = format!("it is {} to {}", bounds.start(), bounds.end());
            Refusal::parameter("parameter_invalid_integer", name, &detail)
        };
        number.map(Some).ok_or_else(wrong)
    }

    /// `metadata[…]`.
    pub(super) fn metadata(&self) -> Result<BTreeMap<String, String>, Refusal> {
        let mut metadata = BTreeMap::new();
        for (name, value) in &self.0 {
            let inner = name.strip_prefix("metadata[");
            let Some(key) = inner.and_then(|rest| rest.strip_suffix(']')) else {
                continue;
            };
            let fits = !key.is_empty()
                && !key.contains(['[', ']'])
                && key.chars().count() <= METADATA_KEY_CHARS
                && value.chars().count() <= METADATA_VALUE_CHARS;
            if !fits || metadata.len() == METADATA_KEYS {
                return Err(Refusal::parameter(
                    "parameter_invalid_string",
                    name,
                    "it is too long, or one too many",
                ));
            }
            metadata.insert(key.to_owned(), value.clone());
        }
        Ok(metadata)
    }

    /// Refuses fields that the call does not know. `metadata[…]` is known where `metadata` is.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        let base = |name: &str| name.split('[').next().unwrap_or_default().to_owned();
        let unknown = self
            .0
            .keys()
            .find(|name| !known.contains(&name.as_str()) && !known.contains(&base(name).as_str()));
        match unknown {
            None => Ok(()),
            Some(name) => Err(Refusal::parameter(
                "parameter_unknown",
                name,
                "nothing here is called so",
            )),
        }
    }
}
