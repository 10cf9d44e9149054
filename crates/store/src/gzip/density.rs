//! Whether a block is worth compressing, told at a fraction of what compressing costs. Layers are
//! full of what is compressed already: packages, pictures, archives, keys. Pure, and the same
//! answer everywhere: it decides bytes that have a digest.
//!
//! Deflate (RFC 1951) gains in two ways: bytes that are more frequent than others, and strings that
//! came before. A block without either cannot shrink.

/// Blocks are judged one by one; also how far back deflate refers.
pub(crate) const BLOCK_BYTES: usize = 32 << 10;
/// Blocks smaller than this are compressed: nothing is to be gained by asking.
const MIN_BYTES: usize = 4 << 10;
/// Bytes of a string.
const STRING_BYTES: usize = 4;
/// Strings at positions that this divides are remembered.
const KEEP_EVERY: usize = 16;
/// The strings at one of so many positions are looked for. It has no divisor in common with the
/// other distance, so that repetition at any distance is met: once in the product of both.
const PROBE_EVERY: usize = 31;
/// What must come again for a block to be worth it: one byte of so many.
const MIN_REPEATED: usize = 64;
/// Frequencies are counted in so many bytes …
const SAMPLE_BYTES: usize = 128;
/// … of so many: what is true of an eighth is true of the block.
const SAMPLE_EVERY: usize = 1 << 10;
/// What unequal frequencies must save, in 2^-12 of the size: one percent.
const MIN_SAVING: u64 = 41;
const HASH_BITS: u32 = 13;

/// Judges blocks; keeps its table between them.
pub(crate) struct Judge {
    /// Where a string with this hash is, in distances of [`KEEP_EVERY`].
    places: Box<[u16; 1 << HASH_BITS]>,
}

impl Judge {
    pub(crate) fn new() -> Self {
        Self { places: Box::new([0; 1 << HASH_BITS]) }
    }

    /// Whether deflate would make a block (at most [`BLOCK_BYTES`]) no smaller.
    pub(crate) fn is_dense(&mut self, block: &[u8]) -> bool {
        block.len() >= MIN_BYTES && is_flat(block) && !self.repeats(block)
    }

    /// Whether strings come again.
    fn repeats(&mut self, block: &[u8]) -> bool {
        self.places.fill(0);
        for (place, stretch) in block.chunks_exact(KEEP_EVERY).enumerate() {
            let Some(string) = stretch.first_chunk() else { break };
            self.places[slot(string)] = u16::try_from(place).unwrap_or(0);
        }
        let mut matches = 0;
        for at in (0..block.len() - STRING_BYTES).step_by(PROBE_EVERY) {
            let Some(string) = block[at..].first_chunk() else { break };
            let place = usize::from(self.places[slot(string)]) * KEEP_EVERY;
            matches += usize::from(place != at && block[place..].starts_with(string));
        }
        matches * KEEP_EVERY * PROBE_EVERY * MIN_REPEATED > block.len()
    }
}

/// Fibonacci hashing: the multiplier is 2^32 over the golden ratio.
fn slot(string: &[u8; STRING_BYTES]) -> usize {
    (u32::from_le_bytes(*string).wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

/// Whether all bytes are about as frequent. With n bytes and counts c, X² = Σ(c - n/256)²/(n/256)
/// is about 2·ln 2·n times the bits per byte that a code by frequency saves (the second order of
/// the Kullback-Leibler divergence from the uniform distribution); 255 of it is chance.
fn is_flat(block: &[u8]) -> bool {
    // Four tables: counting runs of one byte would wait for itself.
    let mut counts = [[0u32; 256]; 4];
    let mut size = 0;
    for stretch in block.chunks(SAMPLE_EVERY) {
        let (fours, _) = stretch[..stretch.len().min(SAMPLE_BYTES)].as_chunks::<4>();
        size += 4 * fours.len() as u64;
        for four in fours {
            for (table, byte) in counts.iter_mut().zip(four) {
                table[usize::from(*byte)] += 1;
            }
        }
    }
    let squares: u64 = (0..256)
        .map(|byte| counts.iter().map(|table| u64::from(table[byte])).sum::<u64>().pow(2))
        .sum();
    // X² = 256·Σc²/n - n. Saved is X²/(2·ln 2·n) of 8 bits; 2^12 of it over 8 is 369·X²/n.
    let chi = (256 * squares / size).saturating_sub(size);
    chi.saturating_sub(255) * 369 < MIN_SAVING * size
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Bytes without any order (xorshift64*).
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let step = |_| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[0]
        };
        (0..len).map(step).collect()
    }

    #[test]
    fn noise_is_dense_and_so_is_what_was_compressed() {
        let mut judge = Judge::new();
        for len in [MIN_BYTES, 5000, BLOCK_BYTES] {
            assert!(judge.is_dense(&noise(len)), "{len}");
        }
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let part = &program[..program.len().min(4 << 20)];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        gzip.write_all(part).unwrap();
        for packed in [zstd::encode_all(part, 3).unwrap(), gzip.finish().unwrap()] {
            let blocks = packed.chunks_exact(BLOCK_BYTES);
            let (count, dense) = (blocks.len(), blocks.filter(|b| judge.is_dense(b)).count());
            assert!(dense * 3 >= count * 2, "{dense} of {count}");
        }
        let plain = part.chunks_exact(BLOCK_BYTES).filter(|block| judge.is_dense(block)).count();
        assert!(plain * 20 < part.len() / BLOCK_BYTES, "{plain}");
    }

    #[test]
    fn what_shrinks_is_not_dense() {
        let mut judge = Judge::new();
        assert!(!judge.is_dense(&[0; BLOCK_BYTES]));
        assert!(!judge.is_dense(&b"the quick brown fox ".repeat(1000)[..BLOCK_BYTES / 2]));
        // Every byte as frequent as the others, and yet the same again and again.
        let cycle: Vec<u8> = noise(2048).into_iter().cycle().take(BLOCK_BYTES).collect();
        assert!(!judge.is_dense(&cycle));
        // A half, a quarter or an eighth of it text.
        let text =
            b"static int parse(const char *line) { return strtol(line, 0, 10); }\n".repeat(999);
        for part in [2, 4, 8] {
            let mut block = noise(BLOCK_BYTES);
            block[..BLOCK_BYTES / part].copy_from_slice(&text[..BLOCK_BYTES / part]);
            assert!(!judge.is_dense(&block), "1/{part}");
        }
        // Seven bits of eight.
        let ascii: Vec<u8> = noise(BLOCK_BYTES).iter().map(|byte| byte & 0x7f).collect();
        assert!(!judge.is_dense(&ascii));
        // What is hardly anything is compressed.
        assert!(!judge.is_dense(&noise(100)));
        assert!(!judge.is_dense(b""));
    }
}
