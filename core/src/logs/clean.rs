//! Text that is harmless to a terminal.

use std::borrow::Cow;

/// Text that others may have written, made harmless to whatever shows it: what
/// steers a terminal, changes the direction of writing, ends a line or cannot be
/// seen is written as its number, such as `\u{1b}`. Letters of every script, and
/// the marks that go with them, stay.
pub fn clean(text: &str) -> Cow<'_, str> {
    // A mark at the beginning would join what stands before the text.
    let first = text.chars().next().is_some_and(is_mark);
    if !first && !text.contains(is_harmful) {
        return text.into();
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for (i, c) in text.chars().enumerate() {
        if is_harmful(c) || (i == 0 && first) {
            clean.extend(c.escape_unicode());
        } else {
            clean.push(c);
        }
    }
    clean.into()
}

/// Whether this character, shown as it is, could mislead or steer: by itself or
/// as it cannot be seen.
pub fn is_harmful(c: char) -> bool {
    !matches!(c, ' '..='~') && !is_mark(c) && !is_printable(c) || is_invisible(c)
}

/// As the standard library sees it: no control, format, separator, private or
/// unassigned character.
fn is_printable(c: char) -> bool {
    c.escape_debug().len() == 1
}

/// A mark that is drawn onto the letter before it. The standard library escapes
/// it at the beginning of a text only, and so tells it from what it never prints.
fn is_mark(c: char) -> bool {
    if c.is_ascii() || is_printable(c) {
        return false;
    }
    let mut bytes = [0; 5];
    bytes[0] = b'a';
    let end = 1 + c.encode_utf8(&mut bytes[1..]).len();
    let after_a_letter = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
    after_a_letter.escape_debug().count() == 2
}

/// Characters that a font draws nothing for though they count as letters or
/// marks: the rest of Unicode's `Default_Ignorable_Code_Point`, and the blank of
/// Braille.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}'
        | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_cannot_be_seen_is_escaped() {
        let harmful = [
            0x0, 0x7, 0x9, 0xa, 0xd, 0x1b, 0x7f, 0x85, 0x9b, 0xa0, 0xad, 0x34f, 0x61c, 0x115f,
            0x180e, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x202f,
            0x2060, 0x2066, 0x2069, 0x206a, 0x2800, 0x3000, 0x3164, 0xe000, 0xfe0f, 0xfeff, 0xfff9,
            0xffa0, 0xe0001, 0xe0041, 0xe0100, 0x10ffff,
        ];
        for c in harmful.map(|c| char::from_u32(c).unwrap()) {
            let text = format!("a{c}b");
            let clean = clean(&text);
            assert_eq!(clean, format!("a{}b", c.escape_unicode()), "U+{:04x}", u32::from(c));
        }
    }

    #[test]
    fn words_of_every_script_stay_as_they_are() {
        for word in [
            "host-1.example",
            "a 'b' \"c\" \\d",
            "Zürich",
            "Zu\u{308}rich",
            "Αθήνα",
            "東京",
            "서울",
            "दिल्ली",
            "กรุงเทพ",
            "القاهرة",
            "תל אביב",
            "🦀",
        ] {
            assert_eq!(clean(word), word);
        }
    }

    #[test]
    fn a_mark_does_not_join_what_stands_before_the_text() {
        assert_eq!(clean("\u{301}a\u{301}"), "\\u{301}a\u{301}");
    }
}
