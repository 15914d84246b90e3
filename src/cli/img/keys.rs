//! Lists of `key=value` with commas between them, a comma in a value doubled.

/// The pairs of `text`, in their order. A key alone is switched on.
pub(super) fn parse(text: &str) -> Vec<(String, String)> {
    // A doubled comma is hidden behind a character that no argument of a process has.
    let hidden = text.replace(",,", "\0");
    let pairs = hidden.split(',').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "on"));
            (key.to_owned(), value.replace('\0', ","))
        })
        .collect()
}

/// The pairs of `text`, where the first may be a value alone, which is that of `key`.
pub(super) fn parse_with_first(text: &str, key: &str) -> Vec<(String, String)> {
    let first = text.split(',').next().unwrap_or("");
    match first.contains('=') || text.is_empty() {
        true => parse(text),
        false => parse(&format!("{key}={text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn a_doubled_comma_is_part_of_a_value() {
        let pairs = parse("backing_file=a,,b,size=1,lazy");
        let wanted = [
            pair("backing_file", "a,b"),
            pair("size", "1"),
            pair("lazy", "on"),
        ];
        assert_eq!(pairs, wanted);
    }

    #[test]
    fn the_first_key_may_be_left_out() {
        let wanted = [pair("qom-type", "secret"), pair("id", "a")];
        assert_eq!(parse_with_first("secret,id=a", "qom-type"), wanted);
    }
}
