//! Sizes of memory as people write and read them.

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

/// A size in its largest binary unit with at most one decimal, cut off: `512 B`, `1.2 MiB`.
pub fn size(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // In tenths, so that the decimal is exact.
    let mut tenths = u128::from(number).saturating_mul(10);
    let mut unit = "B";
    for larger in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        tenth => format!("{}.{tenth} {unit}", tenths / 10),
    }
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
    fn sizes_are_told_in_their_largest_unit() {
        for (number, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1_258_292, "1.2 MiB"),
            (1_048_575, "1023.9 KiB"),
            (16 << 20, "16 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(number), expected);
        }
    }

    #[test]
    fn anything_else_is_no_size() {
        for text in ["", "M", "-1", "1.5G", "1T", "18446744073709551615K", "1 2"] {
            assert!(parse_size(text).unwrap_err().contains("64MiB"), "{text}");
        }
    }
}
