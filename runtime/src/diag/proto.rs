//! The part of the protocol buffers' wire format that traces and profiles need: fields appended to a
//! buffer, and messages with their length in front.

/// A buffer of fields.
#[derive(Debug, Default)]
pub struct Message(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;

impl Message {
    /// The fields so far.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Removes all fields.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Appends a number of variable length.
    pub fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | VARINT);
        self.varint(value);
    }

    /// Appends a number of eight bytes.
    pub fn fixed(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | FIXED64);
        self.0.extend(value.to_le_bytes());
    }

    /// Appends a text.
    pub fn text(&mut self, field: u64, text: &str) {
        self.varint(field << 3 | BYTES);
        self.varint(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    /// Appends a message inside of this one. The length in front of it mostly takes one byte; if it
    /// takes more, the content is moved.
    pub fn message(&mut self, field: u64, write: impl FnOnce(&mut Message)) {
        self.varint(field << 3 | BYTES);
        let length_at = self.0.len();
        self.0.push(0);
        write(self);
        let length = self.0.len() - length_at - 1;
        if length < 0x80 {
            self.0[length_at] = length as u8;
            return;
        }
        let mut prefix = Message::default();
        prefix.varint(length as u64);
        self.0.splice(length_at..=length_at, prefix.0);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn fields_and_messages_are_written_as_the_format_says() {
        let mut message = Message::default();
        message.number(1, 150);
        message.text(2, "testing");
        message.message(3, |inner| inner.number(1, 150));
        message.fixed(47, 1);
        let expected: &[u8] = &[
            0x08, 0x96, 0x01, 0x12, 7, b't', b'e', b's', b't', b'i', b'n', b'g', 0x1a, 3, 0x08, 0x96, 0x01,
            0xf9, 0x02, 1, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(message.bytes(), expected);
    }

    #[test]
    fn a_long_message_has_a_long_length() {
        let mut message = Message::default();
        message.message(1, |inner| inner.text(2, &"x".repeat(300)));
        assert_eq!(message.bytes()[..7], [0x0a, 0xaf, 0x02, 0x12, 0xac, 0x02, b'x']);
        assert_eq!(message.bytes().len(), 3 + 303);
    }
}
