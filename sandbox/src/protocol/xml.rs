//! The answer's XML, written by hand: three kinds of element are all there is.

#[derive(Clone, Debug, Default)]
pub(crate) struct Xml(String);

impl Xml {
    /// `<name>value</name>`, escaped.
    pub(crate) fn text(&mut self, name: &str, value: impl ToString) {
        self.within(name, |xml| escape(&value.to_string(), &mut xml.0));
    }

    /// `<name>…</name>`.
    pub(crate) fn within(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.0.push_str(&format!("<{name}>"));
        fill(self);
        self.0.push_str(&format!("</{name}>"));
    }

    /// `<name><item>…</item>…</name>`, EC2's lists.
    pub(crate) fn items<T>(&mut self, name: &str, items: impl IntoIterator<Item = T>, each: impl Fn(&mut Self, T)) {
        self.within(name, |xml| {
            for item in items {
                xml.within("item", |xml| each(xml, item));
            }
        });
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Replaces what XML 1.0 does not take in text; characters that it forbids altogether become `?`.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('?'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_lists_nest() {
        let mut xml = Xml::default();
        xml.items("set", ["a<b", "\"&\u{1}"], |xml, value| xml.text("value", value));
        assert_eq!(
            xml.as_str(),
            "<set><item><value>a&lt;b</value></item><item><value>&quot;&amp;?</value></item></set>"
        );
    }
}
