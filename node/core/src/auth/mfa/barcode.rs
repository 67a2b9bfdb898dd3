//! A text as a picture that a phone can read.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use qrcode::{Color, EcLevel, QrCode};
use zeroize::Zeroizing;

use crate::error::Error;

/// White modules around the code.
const QUIET_MODULES: usize = 4;
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// One bit a pixel, grey, the usual compression and filters, not interlaced.
const FORMAT: [u8; 5] = [1, 0, 0, 0, 0];
/// Before each row: its pixels stand as they are.
const UNFILTERED: u8 = 0;

/// A square PNG of `pixels` a side: each module as large as fits, in the middle.
///
/// # Errors
/// [`Error::Invalid`]: it does not fit, or the text is too long for any code.
pub fn png(text: &str, pixels: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .map_err(|_| Error::invalid("the issuer is too long for a barcode: set qr_size to 0"))?;
    let width = code.width();
    let scale = pixels / (width + 2 * QUIET_MODULES);
    if scale == 0 {
        let least = width + 2 * QUIET_MODULES;
        return Err(Error::invalid(format!("qr_size must be 0, or at least {least} for this barcode")));
    }
    let before = (pixels - width * scale) / 2;
    let modules = code.to_colors();
    let is_dark = |x: usize, y: usize| {
        let module = |at: usize| at.checked_sub(before).map(|at| at / scale).filter(|at| *at < width);
        matches!((module(x), module(y)), (Some(x), Some(y)) if modules[y * width + x] == Color::Dark)
    };
    let mut rows = Zeroizing::new(Vec::with_capacity(pixels * (pixels / 8 + 2)));
    for y in 0..pixels {
        rows.push(UNFILTERED);
        // White is 1, and each row begins a byte.
        for first in (0..pixels).step_by(8) {
            let white = (0..8).filter(|bit| !is_dark(first + bit, y));
            rows.push(white.fold(0_u8, |byte, bit| byte | 0x80 >> bit));
        }
    }
    file(pixels, &rows).ok_or_else(|| Error::invalid("the barcode cannot be made: set qr_size to 0"))
}

fn file(pixels: usize, rows: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let side = u32::try_from(pixels).ok()?.to_be_bytes();
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(rows).ok()?;
    let packed = Zeroizing::new(packed.finish().ok()?);
    let mut file = Zeroizing::new(SIGNATURE.to_vec());
    put_chunk(&mut file, *b"IHDR", &[&side[..], &side, &FORMAT].concat())?;
    put_chunk(&mut file, *b"IDAT", &packed)?;
    put_chunk(&mut file, *b"IEND", &[])?;
    Some(file)
}

/// Length, name, content, and the checksum of name and content.
fn put_chunk(file: &mut Vec<u8>, name: [u8; 4], content: &[u8]) -> Option<()> {
    file.extend_from_slice(&u32::try_from(content.len()).ok()?.to_be_bytes());
    let begin = file.len();
    file.extend_from_slice(&name);
    file.extend_from_slice(content);
    let checksum = crc32fast::hash(&file[begin..]);
    file.extend_from_slice(&checksum.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// The chunks of a file, each with a right checksum.
    fn chunks(mut file: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        file = file.strip_prefix(SIGNATURE).unwrap();
        let mut chunks = Vec::new();
        while !file.is_empty() {
            let (length, rest) = file.split_at(4);
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            let (chunk, rest) = rest.split_at(4 + length);
            let (checksum, rest) = rest.split_at(4);
            assert_eq!(crc32fast::hash(chunk).to_be_bytes(), checksum);
            chunks.push((chunk[..4].to_vec(), chunk[4..].to_vec()));
            file = rest;
        }
        chunks
    }

    /// The modules of a picture, read back from its pixels.
    fn modules(file: &[u8], width: usize) -> Vec<bool> {
        let chunks = chunks(file);
        let names: Vec<&[u8]> = chunks.iter().map(|(name, _)| name.as_slice()).collect();
        assert_eq!(names, [b"IHDR", b"IDAT", b"IEND"]);
        let side = u32::from_be_bytes(chunks[0].1[..4].try_into().unwrap()) as usize;
        let mut rows = Vec::new();
        flate2::read::ZlibDecoder::new(chunks[1].1.as_slice()).read_to_end(&mut rows).unwrap();
        let row_bytes = 1 + side.div_ceil(8);
        assert_eq!(rows.len(), side * row_bytes);
        let scale = side / (width + 2 * QUIET_MODULES);
        let before = (side - width * scale) / 2;
        let is_dark = |x: usize, y: usize| rows[y * row_bytes + 1 + x / 8] & (0x80 >> (x % 8)) == 0;
        let at = |module: usize| before + module * scale + scale / 2;
        (0..width * width).map(|module| is_dark(at(module % width), at(module / width))).collect()
    }

    #[test]
    fn a_picture_shows_each_module_of_the_code() {
        let text =
            "otpauth://totp/Conclave:e-1?algorithm=SHA1&digits=6&issuer=Conclave&period=30&secret=AAAA";
        let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
        let expected: Vec<bool> = code.to_colors().iter().map(|color| *color == Color::Dark).collect();
        for pixels in [code.width() + 8, 200, 511] {
            assert_eq!(modules(&png(text, pixels).unwrap(), code.width()), expected, "{pixels}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(matches!(png("otpauth://totp/x", 20), Err(Error::Invalid(_))));
        assert!(matches!(png(&"x".repeat(4_000), 200), Err(Error::Invalid(_))));
    }
}
