//! Standard input, read on a thread of its own: a terminal, a pipe or a file alike.

use std::io::Read;

use bytes::Bytes;
use tokio::sync::mpsc;

/// How much is read at a time.
const CHUNK_BYTES: usize = 32 << 10;
/// Chunks that may wait to be sent.
const CHUNKS_IN_FLIGHT: usize = 4;

/// What is typed, from now on. The thread ends with the input, or with the process.
pub(super) fn stdin() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let read = move || {
        let mut input = std::io::stdin().lock();
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match input.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if sender.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() {
                        return;
                    }
                }
            }
        }
    };
    // Without a thread there is no input: the receiver ends at once.
    let _ = std::thread::Builder::new().name("stdin".to_owned()).spawn(read);
    receiver
}
