//! The multiplexed stream of a container without a terminal: frames of an 8-byte header (stream,
//! three zero bytes, big-endian length) and that many bytes. It never does IO.

/// Which of the container's outputs a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The engine's own words about a failure, in band.
    Failure,
}

/// Takes a multiplexed stream apart, in pieces of any size.
#[derive(Debug, Default)]
pub struct Demux {
    header: [u8; 8],
    filled: usize,
    left: usize,
}

impl Demux {
    /// The next piece in `input`, which moves on behind it; nothing when `input` is used up.
    ///
    /// # Errors
    /// The stream byte of a frame is none that the protocol knows.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<(Output, &'a [u8])>, String> {
        loop {
            if self.filled < self.header.len() {
                let take = (self.header.len() - self.filled).min(input.len());
                let (head, rest) = input.split_at(take);
                self.header[self.filled..self.filled + take].copy_from_slice(head);
                self.filled += take;
                *input = rest;
                if self.filled < self.header.len() {
                    return Ok(None);
                }
                let [.., a, b, c, d] = self.header;
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
            }
            if self.left == 0 {
                self.filled = 0;
                continue;
            }
            if input.is_empty() {
                return Ok(None);
            }
            let (piece, rest) = input.split_at(self.left.min(input.len()));
            *input = rest;
            self.left -= piece.len();
            if self.left == 0 {
                self.filled = 0;
            }
            let output = match self.header[0] {
                0 | 1 => Output::Stdout,
                2 => Output::Stderr,
                3 => Output::Failure,
                other => return Err(format!("unrecognized stream: {other}")),
            };
            return Ok(Some((output, piece)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0][..], &length, text.as_bytes()].concat()
    }

    #[test]
    fn any_split_gives_the_same_streams() {
        let all = [frame(1, "hello "), frame(2, "oops"), frame(1, ""), frame(1, "world")].concat();
        for size in 1..=all.len() {
            let (mut demux, mut out, mut err) = (Demux::default(), Vec::new(), Vec::new());
            for mut input in all.chunks(size) {
                while let Some((output, piece)) = demux.next(&mut input).unwrap() {
                    match output {
                        Output::Stdout => out.extend_from_slice(piece),
                        _ => err.extend_from_slice(piece),
                    }
                }
            }
            assert_eq!((&*out, &*err), (&b"hello world"[..], &b"oops"[..]), "chunks of {size}");
        }
    }

    #[test]
    fn an_unknown_stream_is_an_error() {
        let bytes = frame(9, "x");
        assert!(Demux::default().next(&mut &bytes[..]).is_err());
    }
}
