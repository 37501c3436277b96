//! Bytes as text.

use crate::diagnostic::Diagnostic;

/// Returns `bytes` as text, a byte order mark included; what is no UTF-8 is an error that names line and byte.
pub fn decode(bytes: &[u8]) -> Result<&str, Diagnostic> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return Ok(text),
        Err(error) => error,
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(
            Diagnostic::error("the file is UTF-16, not UTF-8", None).hint("save it as UTF-8")
        );
    }
    let at = error.valid_up_to();
    let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    Err(Diagnostic::error(
        format!(
            "line {line} is not UTF-8: byte 0x{:02x} at offset {at} of the file",
            bytes[at]
        ),
        None,
    )
    .hint("save the file as UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_utf8_is_named_by_line_and_byte() {
        assert_eq!(decode("é: 1\n".as_bytes()), Ok("é: 1\n"));
        for (bytes, message) in [
            (
                &b"a: 1\nb: caf\xe9\n"[..],
                "line 2 is not UTF-8: byte 0xe9 at offset 11 of the file",
            ),
            (
                b"a: \xe2\x82",
                "line 1 is not UTF-8: byte 0xe2 at offset 3 of the file",
            ),
            (b"\xff\xfea\0", "the file is UTF-16, not UTF-8"),
        ] {
            let problem = decode(bytes).expect_err("it is no UTF-8");
            assert_eq!((problem.message.as_str(), problem.span), (message, None));
        }
    }
}
