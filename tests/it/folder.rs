//! A folder with the settings of `ringmail serve`, and the program run on it.

use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use crate::ports::Offset;
use crate::program::{Ran, command, ringmail};

/// Settings for example.test on a port of loopback.
pub struct Folder {
    pub dir: tempfile::TempDir,
    pub config: String,
    /// The one of SMTP; the next is free too.
    pub port: u16,
    _offset: Offset,
}

impl Folder {
    /// With this domains file, and further text of the static file; its last table is the listener. `{port}` there is the one beside SMTP's.
    pub fn new(domains: &str, more: &str) -> Folder {
        let dir = tempfile::tempdir().unwrap();
        let offset = Offset::new();
        let port = offset.number;
        let text = format!(
            "data_dir = \"data\"\nhostname = \"mail.example.test\"\n[storage]\nsegment_size_bytes = \"4MiB\"\ndisk_reserve_bytes = \"1MiB\"\n\
             [[listener]]\nname = \"test\"\naddresses = [\"127.0.0.1\"]\nsmtp = {{ port = {port} }}\n{}",
            more.replace("{port}", &(port + 1).to_string())
        );
        std::fs::write(dir.path().join("ringmail.toml"), text).unwrap();
        std::fs::write(dir.path().join("domains.toml"), domains).unwrap();
        let config = dir.path().join("ringmail.toml");
        Folder {
            config: config.to_str().unwrap().to_string(),
            dir,
            port,
            _offset: offset,
        }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn arguments<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        [words, &["--config", &self.config]].concat()
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        ringmail(&self.arguments(words))
    }

    /// Starts the server and waits until it answers on its socket. Its log is the file `log`.
    pub fn serve(&self) -> Serving {
        self.serve_with_faults("")
    }

    /// The same with `RINGMAIL_FAULTS`.
    pub fn serve_with_faults(&self, faults: &str) -> Serving {
        let log = std::fs::File::create(self.at("log")).unwrap();
        let mut child = command(&self.arguments(&["serve"]))
            .env("RINGMAIL_FAULTS", faults)
            .stderr(log)
            .spawn()
            .unwrap();
        while self.run(&["status"]).code != 0 {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("{status}: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Serving(child)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.at("log")).unwrap()
    }
}

/// A running server; killed when dropped.
pub struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
