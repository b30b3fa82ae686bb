//! The place of a set: scope, name and id, which every call names.

use aws_sdk_wafv2::types::Scope;
use eg_model::failure::{Failure, FailureClass};

/// The id of a target: `regional/NAME/UUID` or `cloudfront/NAME/UUID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetPlace {
    pub scope: Scope,
    pub name: String,
    pub id: String,
}

impl SetPlace {
    /// # Errors
    /// It is not the id of a target. The configuration makes no such id; a damaged record can.
    pub fn read(target: &str) -> Result<Self, Failure> {
        let parts: Vec<&str> = target.split('/').collect();
        let scope = |word: &str| match word {
            "regional" => Some(Scope::Regional),
            "cloudfront" => Some(Scope::Cloudfront),
            _ => None,
        };
        let place = match parts.as_slice() {
            [word, name, id] if !name.is_empty() && !id.is_empty() => {
                scope(word).map(|scope| Self { scope, name: (*name).to_owned(), id: (*id).to_owned() })
            }
            _ => None,
        };
        let message =
            || format!("\"{target}\" is not an IP set: it must be regional/NAME/UUID or cloudfront/NAME/UUID");
        place.ok_or_else(|| Failure::new(FailureClass::Invalid, message()))
    }

    pub fn target(&self) -> String {
        let scope = if self.scope == Scope::Cloudfront { "cloudfront" } else { "regional" };
        format!("{scope}/{}/{}", self.name, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (text, scope) in [("regional/people/0a1b-2c", Scope::Regional), ("cloudfront/p/1", Scope::Cloudfront)] {
            let place = SetPlace::read(text).unwrap();
            assert_eq!((place.scope.clone(), place.target().as_str()), (scope, text));
        }
        for wrong in
            ["", "people", "regional/people", "global/people/1", "regional//1", "regional/people/", "regional/a/b/c"]
        {
            assert_eq!(SetPlace::read(wrong).unwrap_err().class, FailureClass::Invalid, "{wrong}");
        }
    }
}
