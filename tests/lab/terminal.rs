//! A program on a terminal of its own, with the test where the person would sit.

use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A program whose standard streams and controlling terminal are a new pseudo-terminal.
pub struct Terminal {
    child: Child,
    keyboard: File,
    /// Kept, so that the terminal's modes outlive the program.
    device: File,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    before: Termios,
}

impl Terminal {
    /// Starts `command` on a terminal of `rows` and `columns`.
    pub(crate) fn start(command: &Command, (rows, columns): (u16, u16)) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        let master = master.expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let path = name.to_str().expect("ASCII");
        let noctty = i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).expect("a small flag");
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, noctty);
        let device = options.read(true).write(true).open(path).expect("the device");
        tcsetwinsize(&master, size(rows, columns)).expect("its size");
        let before = tcgetattr(&device).expect("its modes");
        // setsid(1) makes the terminal the controlling one, as a login would.
        let mut login = Command::new("setsid");
        login.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        login.env_clear().env("TERM", "dumb");
        login.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let copy = || Stdio::from(device.try_clone().expect("dup"));
        login.stdin(copy()).stdout(copy()).stderr(copy());
        let child = login.spawn().expect("setsid(1) is installed");
        let keyboard = File::from(master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let reader = watch(keyboard.try_clone().expect("dup"), screen.clone());
        Self { child, keyboard, device, screen, reader: Some(reader), before }
    }

    /// Types bytes.
    pub fn type_in(&mut self, bytes: &[u8]) {
        self.keyboard.write_all(bytes).expect("the terminal takes input");
    }

    /// All that was shown so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Waits until `words` were shown.
    #[track_caller]
    pub fn shows(&self, words: &str) {
        for _ in 0..600 {
            if self.screen().contains(words) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("waited 30 s for {words:?} on the screen: {:?}", self.screen());
    }

    /// Changes the window's size; the kernel tells the program with SIGWINCH.
    pub fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.keyboard, size(rows, columns)).expect("its size");
    }

    /// Whether the program switched echo and line editing off.
    pub fn is_raw(&self) -> bool {
        let now = tcgetattr(&self.device).expect("its modes");
        !now.local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Whether the program has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_some()
    }

    /// Waits for the program's end: its exit status and all that was shown. The terminal must
    /// be in the modes it began with.
    #[track_caller]
    pub fn finish(mut self) -> (i32, String) {
        for _ in 0..2400 {
            let Some(status) = self.child.try_wait().expect("our child") else {
                std::thread::sleep(std::time::Duration::from_millis(25));
                continue;
            };
            let now = tcgetattr(&self.device).expect("its modes");
            assert_eq!(now.local_modes, self.before.local_modes, "local modes restored");
            assert_eq!(now.input_modes, self.before.input_modes, "input modes restored");
            assert_eq!(now.output_modes, self.before.output_modes, "output modes restored");
            // What was shown last may still be on its way to the reader.
            std::thread::sleep(std::time::Duration::from_millis(100));
            return (status.code().unwrap_or(-1), self.screen());
        }
        panic!("did not end within 60 s: {:?}", self.screen());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The reader ends with the last descriptor of the device.
        if let Ok(null) = File::open("/dev/null") {
            self.device = null;
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn watch(mut from: File, screen: Arc<Mutex<Vec<u8>>>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            screen.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    })
}
