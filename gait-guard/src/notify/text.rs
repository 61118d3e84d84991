//! Short NUL-terminated strings on the stack, for names below `/proc`.

use std::ffi::CStr;
use std::fmt::{Arguments, Write};

use rustix::io::Errno;

/// A string of at most 63 bytes that always ends in NUL.
pub(super) struct ShortText {
    bytes: [u8; 64],
    len: usize,
}

impl ShortText {
    /// Formats without allocating.
    ///
    /// # Errors
    /// `ENAMETOOLONG` if it does not fit, or holds a NUL.
    pub(super) fn format(arguments: Arguments<'_>) -> Result<Self, Errno> {
        let mut text = Self { bytes: [0; 64], len: 0 };
        text.write_fmt(arguments).map_err(|_| Errno::NAMETOOLONG)?;
        Ok(text)
    }

    /// The string for the kernel.
    pub(super) fn as_c_str(&self) -> &CStr {
        // INVARIANT: the last byte is never written, so there always is a NUL.
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

impl Write for ShortText {
    fn write_str(&mut self, piece: &str) -> std::fmt::Result {
        let end = self.len + piece.len();
        if end >= self.bytes.len() || piece.as_bytes().contains(&0) {
            return Err(std::fmt::Error);
        }
        self.bytes[self.len..end].copy_from_slice(piece.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::ShortText;

    #[test]
    fn what_does_not_fit_is_refused_and_not_cut() {
        let fits = ShortText::format(format_args!("{}", "x".repeat(63))).expect("fits");
        assert_eq!(fits.as_c_str().to_bytes(), [b'x'; 63]);
        assert!(ShortText::format(format_args!("{}", "x".repeat(64))).is_err());
    }
}
