//! JSON, as far as the page needs it: values appended to a text.

use std::fmt::Write;

/// A text that grows. Commas come by themselves.
#[derive(Debug, Default)]
pub(crate) struct Json(String);

impl Json {
    /// The text of what `write` writes into an object.
    pub(crate) fn object(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::default();
        json.braced('{', '}', write);
        json.0
    }

    fn comma(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with(['{', '[', ':']) {
            self.0.push(',');
        }
    }

    fn braced(&mut self, open: char, close: char, write: impl FnOnce(&mut Json)) {
        self.comma();
        self.0.push(open);
        write(self);
        self.0.push(close);
    }

    /// The name of the value that follows.
    pub(crate) fn key(&mut self, name: &str) -> &mut Json {
        self.text(name);
        self.0.push(':');
        self
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.comma();
        self.0.push('"');
        for character in text.chars() {
            match character {
                '"' | '\\' => {
                    self.0.push('\\');
                    self.0.push(character);
                }
                '\0'..'\u{20}' => drop(write!(self.0, "\\u{:04x}", character as u32)),
                _ => self.0.push(character),
            }
        }
        self.0.push('"');
    }

    pub(crate) fn number(&mut self, number: usize) {
        self.comma();
        let _ = write!(self.0, "{number}");
    }

    pub(crate) fn nothing(&mut self) {
        self.comma();
        self.0.push_str("null");
    }

    /// An array with an element for each item.
    pub(crate) fn each<T>(&mut self, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Json, T)) {
        self.braced('[', ']', |json| items.into_iter().for_each(|item| write(json, item)));
    }

    /// An object inside.
    pub(crate) fn inner(&mut self, write: impl FnOnce(&mut Json)) {
        self.braced('{', '}', write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_their_order() {
        let text = Json::object(|json| {
            json.key("a\"\\").text("line\n{");
            json.key("b").each([1, 2], |json, n| json.number(n));
            json.key("c").each([(), ()], |json, ()| json.inner(|json| json.key("d").nothing()));
            json.key("e").each([""], Json::text);
            json.key("f").number(3);
        });
        let wanted = r#"{"a\"\\":"line\u000a{","b":[1,2],"c":[{"d":null},{"d":null}],"e":[""],"f":3}"#;
        assert_eq!(text, wanted);
    }
}
