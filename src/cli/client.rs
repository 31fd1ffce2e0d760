//! A command's end of the control socket.

use std::io::{self, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Failure;
use crate::control::protocol::{Request, Response, SOCKET, read_line, write_line};
use crate::control::socket;

/// Before a server is started: that none is there. Its lock and its ports would keep the second out too, with less to go by.
pub(super) fn must_not_run(directory: &Path) -> Result<(), Failure> {
    let directory_named = directory.display();
    match Client::connect(directory) {
        Ok(Some(_)) => Err(Failure::Failed(format!(
            "a server runs on {directory_named} already; see it: ringmail status --dir {directory_named}, or stop it: ringmail stop --dir {directory_named}"
        ))),
        // Whoever may not open the socket is told so by what follows.
        _ => Ok(()),
    }
}

/// A connection to a running server.
pub(super) struct Client(BufReader<UnixStream>);

impl Client {
    /// Connects; none if no server runs on the directory.
    pub(super) fn connect(directory: &Path) -> Result<Option<Client>, Failure> {
        match socket::connect(directory) {
            Ok(stream) => {
                let limits = stream
                    .set_read_timeout(Some(ANSWER_LIMIT))
                    .and_then(|()| stream.set_write_timeout(Some(ANSWER_LIMIT)));
                limits.map_err(|e| broken(&e))?;
                Ok(Some(Client(BufReader::new(stream))))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                io::ErrorKind::PermissionDenied => Err(Failure::denied(&directory.join(SOCKET))),
                _ => Err(Failure::Failed(format!(
                    "{}/{SOCKET}: {error}",
                    directory.display()
                ))),
            },
        }
    }

    /// Sends a request and takes the answer; each item goes to `item` as it comes.
    pub(super) fn request(
        &mut self,
        request: &Request,
        item: &mut dyn FnMut(Value) -> Result<(), Failure>,
    ) -> Result<Value, Failure> {
        write_line(self.0.get_mut(), request).map_err(|e| broken(&e))?;
        loop {
            match read_line(&mut self.0).map_err(|e| broken(&e))? {
                Some(Response::Item(value)) => item(value)?,
                Some(Response::Done(value)) => return Ok(value),
                Some(Response::Error(text)) => return Err(Failure::Failed(text)),
                None => {
                    return Err(Failure::Failed(
                        "the server ended before it answered; its log says why".into(),
                    ));
                }
            }
        }
    }

    /// Waits until the server's process has ended, which closes the connection. False: it has not within `limit`.
    pub(super) fn wait_for_end(mut self, limit: Duration) -> bool {
        let _ = self.0.get_ref().set_read_timeout(Some(limit));
        match self.0.read(&mut [0]) {
            Ok(n) => n == 0,
            Err(e) => !matches!(
                e.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
        }
    }
}

fn broken(error: &io::Error) -> Failure {
    let text = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "the server gives no answer; its log may say why".to_string()
        }
        _ => format!("the connection to the server broke: {error}; its log may say why"),
    };
    Failure::Failed(text)
}

/// Between two lines of an answer: removing a large account takes its time.
const ANSWER_LIMIT: Duration = Duration::from_secs(300);
