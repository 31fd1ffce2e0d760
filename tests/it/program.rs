//! The program under test: started, asked, stopped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;

use crate::patience::PATIENCE;
use crate::ports::Offset;

/// A finished command.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The program with these arguments.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmail"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs to the end.
pub fn ringmail(arguments: &[&str]) -> Ran {
    command(arguments).output().unwrap().into()
}

/// Runs to the end with this standard input.
pub fn ringmail_with_input(arguments: &[&str], input: &str) -> Ran {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early may not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap().into()
}

/// An offset of its own, for as long as this process lives.
pub fn port_offset() -> u16 {
    let offset = Offset::new();
    let number = offset.number;
    std::mem::forget(offset);
    number
}

/// A running `localserve`; killed when dropped.
pub struct Localserve {
    child: Child,
    pub dir: PathBuf,
    pub offset: u16,
    _offset: Offset,
    /// What it printed when it was ready.
    pub welcome: String,
}

impl Localserve {
    /// Starts one and waits until it is ready.
    pub fn start(dir: &Path, more: &[&str]) -> Localserve {
        Localserve::with_log(dir, more, Stdio::inherit(), "")
    }

    /// The same with faults armed, see `shards/src/faults.rs`.
    pub fn with_faults(dir: &Path, more: &[&str], faults: &str) -> Localserve {
        Localserve::with_log(dir, more, Stdio::inherit(), faults)
    }

    /// The same with its log in a file.
    pub fn logging_to(dir: &Path, more: &[&str], log: &Path) -> Localserve {
        Localserve::with_log(dir, more, std::fs::File::create(log).unwrap().into(), "")
    }

    fn with_log(dir: &Path, more: &[&str], log: Stdio, faults: &str) -> Localserve {
        let offset = Offset::new();
        let offset_text = offset.number.to_string();
        let mut arguments = vec!["localserve", "--dir", dir.to_str().unwrap()];
        arguments.extend(["--port-offset", &offset_text]);
        arguments.extend(more);
        let mut child = command(&arguments)
            .env("RINGMAIL_FAULTS", faults)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|n| n > 0) {
                let _ = sender.send(std::mem::take(&mut line));
            }
        });
        let mut welcome = String::new();
        while !welcome.contains("Stop: ") {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => welcome.push_str(&line),
                Err(_) => {
                    let _ = child.kill();
                    panic!("localserve did not get ready; it printed {welcome:?}");
                }
            }
        }
        Localserve {
            child,
            dir: dir.to_path_buf(),
            offset: offset.number,
            _offset: offset,
            welcome,
        }
    }

    /// The directory as an argument.
    pub fn dir(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    /// A connection to the port a standard one is moved to.
    pub fn connect(&self, standard_port: u16) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", standard_port + self.offset)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A GET: status, head and body.
    pub fn get(&self, path: &str) -> (u16, String, String) {
        self.http(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
    }

    /// A request as written: status, head and body.
    pub fn http(&self, request: &(impl AsRef<[u8]> + ?Sized)) -> (u16, String, String) {
        let mut stream = self.connect(80);
        stream.write_all(request.as_ref()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = match head.contains("transfer-encoding: chunked") {
            true => unchunked(body),
            false => body.to_string(),
        };
        (status, head.to_string(), body)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end and answers the exit code.
    pub fn ended(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

/// RFC 9112 7.1.
fn unchunked(mut text: &str) -> String {
    let mut whole = String::new();
    loop {
        let (size, rest) = text.split_once("\r\n").expect("a chunk");
        let size = usize::from_str_radix(size, 16).expect("its size");
        if size == 0 {
            return whole;
        }
        whole.push_str(&rest[..size]);
        text = &rest[size + 2..];
    }
}

impl Drop for Localserve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
