//! Base64 of small values, as headers and documents of clients have it.

use ::base64::Engine as _;
use ::base64::alphabet;
use ::base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use ::base64::engine::{DecodePaddingMode, GeneralPurposeConfig};

/// Reads what clients write, with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The standard alphabet, padded.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads the standard alphabet and the one for URLs, in which `X-Registry-Auth` is written, padded
/// or not; nothing when it is not base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    LENIENT.decode(text.replace('-', "+").replace('_', "/")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_in_the_alphabet_for_urls() {
        assert_eq!(encode(&[0xfb, 0xff]), "+/8=");
        for text in ["+/8=", "-_8=", "-_8"] {
            assert_eq!(decode(text).unwrap(), [0xfb, 0xff], "{text}");
        }
        assert_eq!(decode("a b"), None);
    }
}
