//! The EC2 query protocol's request: a flat form whose names hold numbered lists (EC2 API reference, "Query requests").

use crate::protocol::errors::{self, Refusal};
use std::collections::BTreeMap;

/// The fields of a request, or of one numbered part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    pub(crate) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    pub(crate) fn new(fields: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(fields.into_iter().collect())
    }

    pub(crate) fn fields(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| errors::missing_parameter(name))
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// A whole number, if the field is there.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i32>, Refusal> {
        let parse = |text: &str| {
            let wrong = || errors::invalid_value(format!("Value ({text}) for parameter {name} is invalid."));
            text.parse().map_err(|_| wrong())
        };
        self.get(name).map(parse).transpose()
    }

    /// The parts `<name>.1.…`, `<name>.2.…` in the order of their numbers.
    pub(crate) fn parts(&self, name: &str) -> Vec<Self> {
        let mut parts: BTreeMap<u32, Self> = BTreeMap::new();
        for (key, value) in &self.0 {
            let numbered = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
            let Some((number, rest)) = numbered.and_then(|rest| rest.split_once('.')) else { continue };
            if let Ok(number) = number.parse() {
                parts.entry(number).or_default().0.insert(rest.to_owned(), value.clone());
            }
        }
        parts.into_values().collect()
    }

    /// The values `<name>.1`, `<name>.2`, … in the order of their numbers.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let numbered = |(key, value): (&String, &String)| {
            let number: u32 = key.strip_prefix(name)?.strip_prefix('.')?.parse().ok()?;
            Some((number, value.clone()))
        };
        self.0.iter().filter_map(numbered).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// `Filter.N.Name` and `Filter.N.Value.M`. All filters must hold, one value of each (EC2 User Guide, "Filter
    /// resources"); at most 200 values (`FilterLimitExceeded`). A known name that ends in a colon stands for every longer
    /// one.
    pub(crate) fn filters(&self, known: &[&str]) -> Result<Vec<(String, Vec<String>)>, Refusal> {
        let mut filters = Vec::new();
        for part in self.parts("Filter") {
            let name = part.required("Name")?;
            let fits = |known: &&str| match known.ends_with(':') {
                true => name.len() > known.len() && name.starts_with(*known),
                false => name == *known,
            };
            if !known.iter().any(fits) {
                return Err(errors::invalid_value(format!("The filter '{name}' is invalid")));
            }
            filters.push((name.to_owned(), part.list("Value")));
        }
        match filters.iter().map(|(_, values)| values.len()).sum::<usize>() {
            0..=200 => Ok(filters),
            _ => {
                let message = "The maximum number of filter values specified on a single call is 200";
                Err(Refusal::new("FilterLimitExceeded", message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_lists_are_in_the_order_of_their_numbers() {
        let form = Form::parse(b"A.10.B=ten&A.2.B=two&A.2.C.1=c&L.10=z&L.9=y&L.x=no&AA.1.B=other&T=a%2Bb+c");
        let parts = form.parts("A");
        assert_eq!(parts.iter().map(|part| part.get("B")).collect::<Vec<_>>(), [Some("two"), Some("ten")]);
        assert_eq!(parts[0].list("C"), ["c"]);
        assert_eq!(form.list("L"), ["y", "z"]);
        assert_eq!(form.get("T"), Some("a+b c"));
    }

    #[test]
    fn filters_are_counted_and_known() {
        let form = Form::parse(b"Filter.1.Name=group-id&Filter.1.Value.1=sg-1&Filter.1.Value.2=sg-2");
        let filters = form.filters(&["group-id"]).unwrap();
        assert_eq!(filters, [("group-id".to_owned(), vec!["sg-1".to_owned(), "sg-2".to_owned()])]);
        assert_eq!(form.filters(&[]).unwrap_err().code, "InvalidParameterValue");
        let many = (1..=201).map(|number| (format!("Filter.1.Value.{number}"), "x".to_owned()));
        let many = Form::new(many.chain([("Filter.1.Name".to_owned(), "group-id".to_owned())]));
        assert_eq!(many.filters(&["group-id"]).unwrap_err().code, "FilterLimitExceeded");
    }
}
