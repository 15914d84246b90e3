//! Code page 437 as Unicode: what the characters of a PC's text screen look like elsewhere.

/// Characters 00h to 1Fh as the screen shows them, not as controls.
const LOW: &str = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";
/// Characters 80h to FFh.
const HIGH: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
                    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";

/// All 256 characters, by their code.
pub(super) fn code_page_437() -> Vec<char> {
    let ascii = (0x20..0x7f).map(char::from);
    LOW.chars()
        .chain(ascii)
        .chain(['⌂'])
        .chain(HIGH.chars())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_in_place() {
        let table = code_page_437();
        assert_eq!(table.len(), 256);
        let places = [0x01, 0x41, 0x7f, 0x80, 0xb0, 0xc4, 0xcd, 0xdb, 0xe0, 0xfe];
        let expected = ['☺', 'A', '⌂', 'Ç', '░', '─', '═', '█', 'α', '■'];
        assert_eq!(places.map(|p| table[p]), expected);
    }
}
