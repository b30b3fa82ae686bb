//! Answers that are cut off. The SDK reads XML up to where it breaks off and takes that for the whole: a list cut off in
//! the middle would be a short list, and a missing next-page token would mean the last page.

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::AfterDeserializationInterceptorContextRef},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;

/// An answer that ends before its root element does.
#[derive(Debug, thiserror::Error)]
#[error("the answer is cut off")]
pub(super) struct CutOff;

/// Turns a good answer that is cut off into a failure of unknown outcome.
#[derive(Clone, Copy, Debug)]
pub struct WholeAnswers;

impl Intercept for WholeAnswers {
    fn name(&self) -> &'static str {
        "WholeAnswers"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let cut = response.status().is_success() && response.body().bytes().is_some_and(|body| !is_whole(body));
        if cut { Err(CutOff.into()) } else { Ok(()) }
    }
}

/// True if a document ends with the end of its root element. A document without any element is for the
/// SDK to judge.
fn is_whole(body: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let text = text.trim_end();
    // After `<?xml …?>` and comments, the first tag that begins with a name.
    let mut tags = text.split('<').skip(1).skip_while(|tag| !tag.starts_with(|c: char| c.is_ascii_alphabetic()));
    let Some(root) = tags.next() else { return true };
    let Some(last) = tags.last() else { return root.ends_with("/>") };
    let name = root.split(|c: char| c.is_whitespace() || c == '>').next().unwrap_or_default();
    let closed = last.strip_prefix('/').and_then(|last| last.strip_suffix('>'));
    closed.is_some_and(|closed| closed.trim_end() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_documents() {
        for whole in
            ["<A>x</A>", "<?xml version=\"1.0\"?>\n<!-- b --><A xmlns=\"u\"><b/></A >\n", "<A/>", "", "not XML"]
        {
            assert!(is_whole(whole.as_bytes()), "{whole}");
        }
    }

    #[test]
    fn every_cut_shows() {
        let whole = "<?xml version=\"1.0\"?>\n<A xmlns=\"u\"><list><item><a>é</a><b/></item></list></A>";
        let begin = whole.find("<A").unwrap() + 2;
        for end in begin..whole.len() {
            assert!(!is_whole(&whole.as_bytes()[..end]), "cut after {end} bytes");
        }
    }
}
