//! Signals that this process gets and the container should: forwarded by name. Also the size of
//! the terminal, which is announced by a signal.

use client::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::terminal;

/// What is forwarded, by number and name. Not: those that cannot be caught, those about children
/// and pipes, and those that mean this program itself.
const FORWARDED: [(i32, &str); 18] = [
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (10, "USR1"),
    (12, "USR2"),
    (14, "ALRM"),
    (15, "TERM"),
    (16, "STKFLT"),
    (18, "CONT"),
    (20, "TSTP"),
    (21, "TTIN"),
    (22, "TTOU"),
    (24, "XCPU"),
    (25, "XFSZ"),
    (26, "VTALRM"),
    (27, "PROF"),
    (29, "IO"),
    (30, "PWR"),
];

/// Signals caught from now on, by name.
pub(crate) fn caught() -> mpsc::Receiver<&'static str> {
    let (sender, receiver) = mpsc::channel(FORWARDED.len());
    for (number, name) in FORWARDED {
        let Ok(mut stream) = signal(SignalKind::from_raw(number)) else { continue };
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(name).await.is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

/// Forwards caught signals to a container. Never ends by itself.
pub(crate) async fn forward(
    client: &Client,
    container: &str,
    caught: &mut mpsc::Receiver<&'static str>,
) {
    while let Some(name) = caught.recv().await {
        // A container that just ended cannot be signalled; that is no failure of this command.
        let _ = client.container_kill(container, name).await;
    }
    std::future::pending::<()>().await;
}

/// What a terminal belongs to.
#[derive(Clone, Copy)]
pub(crate) enum Screen<'a> {
    /// A container, by id.
    Container(&'a str),
    /// A process in one, by id.
    Exec(&'a str),
}

/// Tells the engine the size of this terminal, now and whenever it changes. Never ends by itself.
pub(crate) async fn follow_size(client: &Client, screen: Screen<'_>) {
    let changes = signal(SignalKind::window_change());
    announce_size(client, screen).await;
    if let Ok(mut changes) = changes {
        while changes.recv().await.is_some() {
            announce_size(client, screen).await;
        }
    }
    std::future::pending::<()>().await;
}

/// Makes a program draw its screen anew: it sees another size for a moment.
pub(crate) async fn redraw(client: &Client, screen: Screen<'_>) {
    if let Some((rows, columns)) = terminal::size(rustix::stdio::stdout())
        && (rows, columns) != (0, 0)
    {
        resize(client, screen, (rows.saturating_add(1), columns)).await;
    }
}

/// Waits for a signal that ends a process, and returns its number.
pub(crate) async fn deadly() -> i32 {
    let mut all = [1, 2, 3, 15].map(|number| (number, signal(SignalKind::from_raw(number))));
    std::future::poll_fn(move |cx| {
        for (number, stream) in &mut all {
            if let Ok(stream) = stream
                && stream.poll_recv(cx).is_ready()
            {
                return std::task::Poll::Ready(*number);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Tells the engine the size of this terminal.
async fn announce_size(client: &Client, screen: Screen<'_>) {
    let Some((rows, columns)) = terminal::size(rustix::stdio::stdout()) else { return };
    if rows == 0 && columns == 0 {
        return;
    }
    resize(client, screen, (rows, columns)).await;
}

/// A failure is no reason to end: the program goes on at the size it had.
async fn resize(client: &Client, screen: Screen<'_>, (rows, columns): (u16, u16)) {
    let _ = match screen {
        Screen::Container(id) => client.container_resize(id, rows, columns).await,
        Screen::Exec(id) => client.exec_resize(id, rows, columns).await,
    };
}
