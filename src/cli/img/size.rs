//! Sizes as people write them (`512`, `64k`, `1.5G`) and as they like to read them (`1.5 GiB`).

const SUFFIXES: [(&str, u32); 7] = [
    ("b", 0),
    ("k", 10),
    ("m", 20),
    ("g", 30),
    ("t", 40),
    ("p", 50),
    ("e", 60),
];

/// The number of bytes that `text` means; the suffixes k, M, G, T, P and E are powers of 1024.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let bad = || {
        format!(
            "\"{}\" is not a size such as 512, 64k or 1.5G",
            text.escape_debug()
        )
    };
    let lower = text.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        let bytes = u64::from_str_radix(hex, 16).ok();
        return bytes.filter(|&bytes| bytes < 1 << 63).ok_or_else(bad);
    }
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = &lower[digits.len()..];
    let shift = match suffix {
        "" => 0,
        _ => {
            SUFFIXES
                .iter()
                .find(|(name, _)| *name == suffix)
                .ok_or_else(bad)?
                .1
        }
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: u128 = whole.parse().map_err(|_| bad())?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) || fraction.len() > 18 {
        return Err(bad());
    }
    let mut bytes = whole.checked_mul(1 << shift).ok_or_else(bad)?;
    if !fraction.is_empty() {
        let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| bad())?);
        let part: u128 = fraction.parse().map_err(|_| bad())?;
        bytes += (part << shift) / scale;
    }
    u64::try_from(bytes)
        .ok()
        .filter(|&bytes| bytes < 1 << 63)
        .ok_or_else(bad)
}

/// Three significant digits and a binary unit, as qemu-img prints them.
pub(super) fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", three_digits(value), UNITS[unit])
}

/// C's `%0.3g` for values from 0 to 1000.
fn three_digits(value: f64) -> String {
    let decimals = match value {
        v if v < 0.9995 => 3,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse("512"), Ok(512));
        assert_eq!(parse("64k"), Ok(65536));
        assert_eq!(parse("1.5G"), Ok(3 << 29));
        assert_eq!(parse("2T"), Ok(2 << 40));
        assert_eq!(parse("0x10"), Ok(16));
        for bad in [
            "",
            "k",
            "-1",
            "1x",
            "1.2.3",
            "16E",
            "99999999999999999999",
            "0xg",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_with_three_digits() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(196 * 1024), "196 KiB");
        assert_eq!(human(1 << 30), "1 GiB");
        assert_eq!(human(1_610_612_736), "1.5 GiB");
        assert_eq!(human(1023 << 10), "0.999 MiB");
    }
}
