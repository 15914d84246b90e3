//! Pictures of the screen as files: PPM and PNG. (Netpbm, ppm(5); W3C, Portable Network
//! Graphics 3rd edition.)

use std::io::{self, Write};

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use super::Frame;

const PNG_SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";
const EIGHT_BITS_TRUE_COLOUR: [u8; 5] = [8, 2, 0, 0, 0];
const UNFILTERED: u8 = 0;

/// The frame as a binary PPM file.
pub fn ppm(frame: &Frame) -> Vec<u8> {
    let mut file = format!("P6\n{} {}\n255\n", frame.width, frame.height).into_bytes();
    file.extend(&frame.rgb);
    file
}

/// The frame as a PNG file. Errors: none in practice, since it is written to memory.
pub fn png(frame: &Frame) -> io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(13);
    for size in [frame.width, frame.height] {
        let size = u32::try_from(size).map_err(io::Error::other)?;
        header.extend(size.to_be_bytes());
    }
    header.extend(EIGHT_BITS_TRUE_COLOUR);
    let mut lines = ZlibEncoder::new(Vec::new(), Compression::fast());
    for line in frame.rgb.chunks(frame.width.max(1) * 3) {
        lines.write_all(&[UNFILTERED])?;
        lines.write_all(line)?;
    }
    let mut file = PNG_SIGNATURE.to_vec();
    chunk(&mut file, b"IHDR", &header)?;
    chunk(&mut file, b"IDAT", &lines.finish()?)?;
    chunk(&mut file, b"IEND", &[])?;
    Ok(file)
}

/// Appends length, type, data and the checksum of the latter two.
fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) -> io::Result<()> {
    let len = u32::try_from(data.len()).map_err(io::Error::other)?;
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    file.extend(len.to_be_bytes());
    file.extend(kind);
    file.extend(data);
    file.extend(crc.sum().to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn two_dots() -> Frame {
        let rgb = vec![255, 0, 0, 0, 0, 255];
        Frame {
            width: 2,
            height: 1,
            rgb,
        }
    }

    #[test]
    fn a_ppm_is_a_header_and_the_dots() {
        assert_eq!(ppm(&two_dots()), b"P6\n2 1\n255\n\xff\0\0\0\0\xff");
    }

    #[test]
    fn a_png_holds_the_same_dots_and_right_checksums() {
        let file = png(&two_dots()).unwrap();
        let mut rest = &file[8..];
        let mut kinds = Vec::new();
        while !rest.is_empty() {
            let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let (body, sum) = rest[4..].split_at(len + 4);
            let mut crc = Crc::new();
            crc.update(body);
            assert_eq!(sum[..4], crc.sum().to_be_bytes());
            if body.starts_with(b"IDAT") {
                let mut line = Vec::new();
                let mut packed = flate2::read::ZlibDecoder::new(&body[4..]);
                packed.read_to_end(&mut line).unwrap();
                assert_eq!(line, [0, 255, 0, 0, 0, 0, 255]);
            }
            kinds.push(body[..4].to_vec());
            rest = &sum[4..];
        }
        assert_eq!(kinds, [b"IHDR", b"IDAT", b"IEND"]);
    }
}
