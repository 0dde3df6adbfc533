//! Lower-case hexadecimal by table: signatures are made of it, twice a request.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The 64 lower-case hex digits of a SHA-256 or HMAC-SHA-256 value.
pub(crate) fn encode32(bytes: &[u8; 32]) -> [u8; 64] {
    let mut out = [0; 64];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out
}

/// The same digits as text, appended to `out`.
pub(crate) fn push32(out: &mut String, bytes: &[u8; 32]) {
    out.reserve(64);
    for digit in encode32(bytes) {
        out.push(char::from(digit));
    }
}

/// Reads exactly 64 lower-case hex digits.
pub(crate) fn decode32(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_survive_the_round_trip_and_nothing_else_is_read() {
        let bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i * 8 + 3).unwrap());
        let mut text = String::new();
        push32(&mut text, &bytes);
        assert_eq!(decode32(text.as_bytes()), Some(bytes));
        for bad in ["", "ab", &text.to_uppercase(), &text[1..], &format!("{}g", &text[1..])] {
            assert_eq!(decode32(bad.as_bytes()), None, "{bad}");
        }
    }
}
