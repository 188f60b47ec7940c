//! The fields of a protobuf message, one after the other, without taking memory
//! for any: <https://protobuf.dev/programming-guides/encoding/>.

use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint,
    encoded_len_varint, skip_field,
};

/// Bytes that are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no protobuf message")]
pub struct Malformed;

impl From<prost::DecodeError> for Malformed {
    fn from(_: prost::DecodeError) -> Self {
        Self
    }
}

/// What a field has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
    /// Of a kind that no message here has: skipped.
    Other,
}

/// The number of each field and what it has. After an error there is no more.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    fn read(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let (tag, kind) = decode_key(&mut self.0)?;
        let value = match kind {
            WireType::Varint => Value::Number(decode_varint(&mut self.0)?),
            WireType::LengthDelimited => {
                let len = usize::try_from(decode_varint(&mut self.0)?).map_err(|_| Malformed)?;
                let (bytes, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            // Groups can be nested: to a depth of 100.
            kind => {
                skip_field(kind, tag, &mut self.0, DecodeContext::default())?;
                Value::Other
            }
        };
        Ok((tag, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// The length of a field of so many bytes, for numbers of fields below 16.
pub(crate) fn field_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

/// Writes a field of bytes, a text or a message.
pub(crate) fn write_field(tag: u32, value: &[u8], to: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(value.len() as u64, to);
    to.extend_from_slice(value);
}

/// Writes a field that is a number.
pub(crate) fn write_number(tag: u32, value: u64, to: &mut Vec<u8>) {
    encode_key(tag, WireType::Varint, to);
    encode_varint(value, to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_one_by_one_and_what_is_broken_ends_them() {
        let mut bytes = Vec::new();
        write_number(1, u64::MAX, &mut bytes);
        write_field(2, b"abc", &mut bytes);
        assert_eq!(bytes.len(), 11 + field_len(3));
        bytes.extend_from_slice(&[3 << 3 | 5, 1, 2, 3, 4, 4 << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.extend_from_slice(&[5 << 3 | 3, 5 << 3 | 4]);
        let read: Vec<_> = Fields(&bytes).map(Result::unwrap).collect();
        let others = [(3, Value::Other), (4, Value::Other), (5, Value::Other)];
        let expected = [(1, Value::Number(u64::MAX)), (2, Value::Bytes(b"abc"))];
        assert_eq!(read, expected.into_iter().chain(others).collect::<Vec<_>>());

        let nested = |depth| [vec![5 << 3 | 3; depth], vec![5 << 3 | 4; depth]].concat();
        assert_eq!(Fields(&nested(100)).count(), 1);
        for broken in [
            &[0, 0][..],               // the number 0
            &[1 << 3],                 // no value
            &[2 << 3 | 2],             // no length
            &[2 << 3 | 2, 2, 1],       // less than its length
            &[1 << 3 | 6, 0],          // no such kind
            &[3 << 3 | 5, 1, 2],       // less than four bytes
            &[5 << 3 | 3],             // a group without an end
            &[5 << 3 | 3, 4 << 3 | 4], // with another's end
            &[5 << 3 | 4],             // an end alone
            &nested(200),
            &[[1 << 3].as_slice(), &[0xff; 11]].concat(), // a varint without an end
            &[[1 << 3].as_slice(), &[0xff; 9], &[2]].concat(), // more than 64 bits
            &[[2 << 3 | 2].as_slice(), &[0xff; 9], &[1]].concat(), // a length of 2^64 - 1
            &[0xff, 0xff, 0xff, 0xff, 0x7f, 0],           // a number of more than 32 bits
        ] {
            let read: Vec<_> = Fields(broken).collect();
            assert_eq!(read, [Err(Malformed)], "{broken:?}");
        }
    }
}
