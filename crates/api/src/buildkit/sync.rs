//! Files to and from a session's client, in fsutil's protocol: entries first, content on request.
//! Knows where entries go to and come from only through the engine's mirrors.
//!
//! ```text
//! from the client     ◀─ STAT … STAT, STAT(end) ─     to the client: the same, the other way
//!                     ── REQ(id) ─────────────────▶   (what the client asks for is sent)
//!                     ◀─ DATA(id) … DATA(id, end) ─
//!                     ── FIN ──▶  ◀── FIN ─────────
//! ```

use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ::buildkit::line::{Line, MAX_MESSAGE_BYTES};
use bollard_buildkit_proto::fsutil::types::{Packet, packet::PacketType};
use bollard_buildkit_proto::moby::filesync::packet::file_send_client as tree_client;
use bollard_buildkit_proto::moby::filesync::packet::file_sync_client::FileSyncClient;
use bollard_buildkit_proto::moby::filesync::v1::BytesMessage;
use bollard_buildkit_proto::moby::filesync::v1::file_send_client as file_client;
use build::client::{Content, LocalAsk, LocalDir};
use build::{Error, Result};
use engine::mirror::{Listing, Mirror};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Request, Streaming};

use super::fault::failed;
use super::session::Session;
use super::stat;

/// How many packets wait between the connection and the disk.
const QUEUE: usize = 128;
/// How much of a file goes into one packet.
const PIECE_BYTES: usize = 32 << 10;

/// Follows a directory of the client's into `mirror`.
pub(super) async fn receive(session: &Session, ask: &LocalAsk, mirror: Mirror) -> Result<LocalDir> {
    let (tx, rx) = mpsc::channel(QUEUE);
    let mut request = Request::new(ReceiverStream::new(rx));
    let metadata = request.metadata_mut();
    put(metadata, "dir-name", std::slice::from_ref(&ask.name));
    put(metadata, "include-patterns", &ask.include);
    put(metadata, "exclude-patterns", &ask.exclude);
    put(metadata, "followpaths", &ask.follow);
    let asking = || format!("ask the client for directory {:?}", ask.name);
    let mut client = FileSyncClient::with_origin(session.line(), Line::origin())
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let stream = client.diff_copy(request).await.map_err(|status| failed(asking(), &status))?;
    let mut stream = stream.into_inner();
    let (packets, inbox) = mpsc::channel(QUEUE);
    let work = tokio::task::spawn_blocking(move || {
        let done = follow(&mirror, inbox, &tx);
        if let Err(error) = &done {
            // The client may have left already.
            let _ = tx.blocking_send(packet(PacketType::PacketErr, 0, error.to_string().into()));
        }
        done.map(|()| mirror)
    });
    let fed = feed(&mut stream, packets, asking).await;
    let mirror = work.await.map_err(|_| Error::internal("taking in the files broke down"))?;
    // What the client says is the cause; that the list then broke off is not.
    fed?;
    let mirror = mirror?;
    let dir = mirror.tree()?;
    let lasting = mirror.is_lasting();
    Ok(LocalDir { dir: Arc::new(dir), lasting, keep: Some(Arc::new(mirror)) })
}

/// Passes packets on until the stream or their taker ends.
async fn feed(
    stream: &mut Streaming<Packet>,
    packets: mpsc::Sender<Packet>,
    asking: impl Fn() -> String,
) -> Result<()> {
    loop {
        match stream.message().await {
            Ok(None) => return Ok(()),
            Err(status) => return Err(failed(asking(), &status)),
            Ok(Some(packet)) if packet.r#type == i32::from(PacketType::PacketErr) => {
                let text: String =
                    String::from_utf8_lossy(&packet.data).chars().take(512).collect();
                return Err(Error::invalid(format!("{}: {text}", asking())));
            }
            Ok(Some(packet)) => {
                let last = packet.r#type == i32::from(PacketType::PacketFin);
                if packets.send(packet).await.is_err() || last {
                    return Ok(());
                }
            }
        }
    }
}

/// Takes packets until everything that was asked for has come.
fn follow(
    mirror: &Mirror,
    mut inbox: mpsc::Receiver<Packet>,
    tx: &mpsc::Sender<Packet>,
) -> Result<()> {
    let mut update = mirror.update()?;
    let mut number = 0;
    loop {
        let Some(packet) = inbox.blocking_recv() else {
            return Err(Error::invalid("the client's list of files broke off"));
        };
        match (PacketType::try_from(packet.r#type), packet.stat) {
            (Ok(PacketType::PacketStat), Some(stat)) => {
                update.entry(number, stat::entry(stat))?;
                number += 1;
            }
            (Ok(PacketType::PacketStat), None) => update.all_told()?,
            (Ok(PacketType::PacketData), _) if packet.data.is_empty() => update.end(packet.id)?,
            (Ok(PacketType::PacketData), _) => update.data(packet.id, &packet.data)?,
            (kind, _) => {
                return Err(Error::invalid(format!("unexpected packet {kind:?} from the client")));
            }
        }
        while let Some(id) = update.next_wanted()? {
            tell(tx, packet_of(PacketType::PacketReq, id))?;
        }
        if update.is_complete() {
            update.finish()?;
            tell(tx, packet_of(PacketType::PacketFin, 0))?;
            // Kept open until the client has answered.
            while inbox.blocking_recv().is_some() {}
            return Ok(());
        }
    }
}

/// Sends a directory to the client; `output` is the client's number for it.
pub(super) async fn send_directory(session: &Session, output: usize, dir: OwnedFd) -> Result<()> {
    let sending = || "send the result to the client".to_owned();
    let (tx, rx) = mpsc::channel(QUEUE);
    let mut request = Request::new(ReceiverStream::new(rx));
    number(request.metadata_mut(), output);
    let mut client = tree_client::FileSendClient::with_origin(session.line(), Line::origin())
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (asked, asks) = mpsc::channel(QUEUE);
    let work = tokio::task::spawn_blocking(move || tell_tree(dir, &tx, asks));
    let call = async {
        let mut stream = client.diff_copy(request).await?.into_inner();
        while let Some(packet) = stream.message().await? {
            let last = packet.r#type == i32::from(PacketType::PacketFin);
            if asked.send(packet).await.is_err() || last {
                break;
            }
        }
        drop(asked);
        Ok(())
    };
    let called = call.await.map_err(|status: tonic::Status| failed(sending(), &status));
    let told = work.await.map_err(|_| Error::internal("reading the result broke down"))?;
    called.and(told)
}

fn tell_tree(
    dir: OwnedFd,
    tx: &mpsc::Sender<Packet>,
    mut asks: mpsc::Receiver<Packet>,
) -> Result<()> {
    let mut gone = None;
    let listing = Listing::of(dir, |(_, entry)| {
        let stat = Some(stat::stat(entry));
        let told = Packet { stat, ..packet_of(PacketType::PacketStat, 0) };
        gone = gone.take().or(tell(tx, told).err());
        Ok(())
    })?;
    if let Some(gone) = gone {
        return Err(gone);
    }
    tell(tx, packet_of(PacketType::PacketStat, 0))?;
    while let Some(ask) = asks.blocking_recv() {
        match PacketType::try_from(ask.r#type) {
            Ok(PacketType::PacketReq) => send_content(&listing, ask.id, tx)?,
            Ok(PacketType::PacketFin) => {
                return tell(tx, packet_of(PacketType::PacketFin, 0));
            }
            Ok(PacketType::PacketErr) => {
                let text: String = String::from_utf8_lossy(&ask.data).chars().take(512).collect();
                return Err(Error::invalid(format!("the client cannot take the result: {text}")));
            }
            _ => return Err(Error::invalid("unexpected packet from the client")),
        }
    }
    Err(Error::Cancelled)
}

fn send_content(listing: &Listing, id: u32, tx: &mpsc::Sender<Packet>) -> Result<()> {
    let mut file = listing.open(id)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read =
            file.read(&mut piece).map_err(|error| Error::io("read a file of the result", error))?;
        tell(tx, packet(PacketType::PacketData, id, piece[..read].to_vec()))?;
        if read == 0 {
            return Ok(());
        }
    }
}

/// Sends one file to the client, as it comes.
pub(super) async fn send_file(
    session: &Session,
    output: usize,
    mut content: Content,
) -> Result<()> {
    let sending = || "send the result to the client".to_owned();
    let (tx, rx) = mpsc::channel(QUEUE);
    let mut request = Request::new(ReceiverStream::new(rx));
    number(request.metadata_mut(), output);
    let mut client = file_client::FileSendClient::with_origin(session.line(), Line::origin());
    let feed = async move {
        while let Some(piece) = content.recv().await {
            for part in piece?.chunks(1 << 20) {
                let message = BytesMessage { data: part.to_vec() };
                if tx.send(message).await.is_err() {
                    return Err(Error::Cancelled);
                }
            }
        }
        Ok(())
    };
    let call = async {
        let mut stream = client.diff_copy(request).await?.into_inner();
        // The client ends its side once it has everything.
        while stream.message().await?.is_some() {}
        Ok(())
    };
    let (fed, called) = tokio::join!(feed, call);
    let called = called.map_err(|status: tonic::Status| failed(sending(), &status));
    match fed {
        Err(Error::Cancelled) => called.and(Err(Error::Cancelled)),
        fed => fed.and(called),
    }
}

fn packet(kind: PacketType, id: u32, data: Vec<u8>) -> Packet {
    Packet { r#type: kind.into(), stat: None, id, data }
}

fn packet_of(kind: PacketType, id: u32) -> Packet {
    packet(kind, id, Vec::new())
}

fn tell(tx: &mpsc::Sender<Packet>, packet: Packet) -> Result<()> {
    tx.blocking_send(packet).map_err(|_| Error::Cancelled)
}

/// Says which of a request's outputs a call is for.
pub(super) fn number(metadata: &mut MetadataMap, output: usize) {
    put(metadata, "buildkit-attachable-exporter-id", &[output.to_string()]);
}

/// Puts a list into a call's metadata; what headers cannot carry is escaped, and marked as such.
fn put(metadata: &mut MetadataMap, key: &'static str, values: &[String]) {
    let plain = |value: &String| value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let escape = !values.iter().all(plain);
    for value in values {
        let text = if escape { query_escape(value) } else { value.clone() };
        if let Ok(text) = AsciiMetadataValue::try_from(text) {
            metadata.append(key, text);
        }
    }
    if escape
        && let Ok(mark) = format!("{key}-encoded").parse::<tonic::metadata::AsciiMetadataKey>()
    {
        metadata.insert(mark, AsciiMetadataValue::from_static("1"));
    }
}

/// Go's `url.QueryEscape`.
fn query_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_travel_as_headers() {
        let mut metadata = MetadataMap::new();
        put(&mut metadata, "include-patterns", &["a*".into(), "b c".into()]);
        assert_eq!(metadata.get_all("include-patterns").iter().count(), 2);
        assert!(metadata.get("include-patterns-encoded").is_none());
        put(&mut metadata, "exclude-patterns", &["ä b".into(), "x\ny".into()]);
        let sent: Vec<_> = metadata.get_all("exclude-patterns").iter().collect();
        assert_eq!(sent, ["%C3%A4+b", "x%0Ay"]);
        assert_eq!(metadata.get("exclude-patterns-encoded").unwrap(), "1");
    }
}
