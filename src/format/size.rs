//! Sizes of memory as people write them on a command line.

/// Reads `64MiB`, `512k`, or a bare number of bytes. A unit is B, K, M or G, also followed by B or iB, and a
/// power of 1024.
///
/// # Errors
/// What is wrong, and how it is written.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at_checked(digits).unwrap_or((trimmed, ""));
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => 0,
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.filter(|_| unit > 0).ok_or_else(|| {
        format!("\"{}\" is no size; write it like 64MiB, or 65536 for bytes", text.escape_debug())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_with_a_unit_or_bytes() {
        for (text, bytes) in
            [("0", 0), ("65536", 65_536), ("64MiB", 64 << 20), (" 2 g ", 2 << 30), ("3kb", 3 << 10)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_size() {
        for text in ["", "M", "-1", "1.5G", "1T", "18446744073709551615K", "1 2"] {
            assert!(parse_size(text).unwrap_err().contains("64MiB"), "{text}");
        }
    }
}
