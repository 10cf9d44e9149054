//! Directories to build from, and builds of them.

use crate::daemon::Lab;
use crate::program::Output;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A path of the lab's as a word of a command.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of labs are UTF-8")
}

impl Lab {
    /// A new directory with these files.
    pub fn context(&self, files: &[(&str, &str)]) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir().join(format!("context{number}"));
        for (path, content) in files {
            let path = dir.join(path);
            let parent = path.parent().expect("it is below the directory");
            std::fs::create_dir_all(parent).expect("the lab's directory is ours");
            std::fs::write(path, content).expect("the lab's directory is ours");
        }
        dir
    }

    /// A new directory with this Dockerfile alone.
    pub fn dockerfile(&self, content: &str) -> PathBuf {
        self.context(&[("Dockerfile", content)])
    }

    /// `estiba build --progress=plain WORDS… DIRECTORY`.
    #[track_caller]
    pub fn build(&self, dir: &Path, words: &[&str]) -> Output {
        self.estiba(&[&["build", "--progress=plain"], words, &[text(dir)]].concat())
    }
}
