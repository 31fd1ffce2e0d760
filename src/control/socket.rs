//! The control socket: mode 0600, one thread that accepts, one more for each client, few at once.

use std::fs;
use std::io::{self, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::commands::{Control, run};
use super::protocol::{Request, Response, SOCKET, read_line, write_line};

/// Connects to the server of a directory. An error of kind `NotFound` or `ConnectionRefused`: none is running.
pub fn connect(directory: &Path) -> io::Result<UnixStream> {
    let opened = fs::File::open(directory)?;
    UnixStream::connect(short_path(&opened, directory))
}

/// A bound socket. Whoever binds holds the directory's lock, so what lies there is left from a crash.
pub(super) struct Bound {
    listener: UnixListener,
    path: PathBuf,
}

impl Bound {
    pub(super) fn bind(directory: &Path) -> io::Result<Bound> {
        let opened = fs::File::open(directory)?;
        let short = short_path(&opened, directory);
        match fs::remove_file(&short) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => (),
        }
        // Nobody else can connect meanwhile either: the program's umask is strict from its start.
        let listener = UnixListener::bind(&short)?;
        fs::set_permissions(&short, fs::Permissions::from_mode(0o600))?;
        Ok(Bound {
            listener,
            path: directory.join(SOCKET),
        })
    }

    /// Serves clients on threads of their own from now on, until the process ends.
    pub(super) fn serve(self, control: Arc<Control>) -> io::Result<Remove> {
        let remove = Remove(self.path.clone());
        thread::Builder::new()
            .name("control".into())
            .spawn(move || accept(&self.listener, &control))?;
        Ok(remove)
    }
}

/// Removes the socket's name when the server stops.
pub(super) struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// sockaddr_un holds 108 octets: a longer path goes through the open directory, which must outlive its use.
fn short_path(opened: &fs::File, directory: &Path) -> PathBuf {
    let path = directory.join(SOCKET);
    if path.as_os_str().len() <= PATH_MAX {
        return path;
    }
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()))
}

fn accept(listener: &UnixListener, control: &Arc<Control>) {
    // Atomic: counted by the threads of the clients.
    let clients = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        let counted = Counted::new(&clients);
        if clients.load(Ordering::Relaxed) > CLIENTS_MAX {
            let busy = Response::Error(format!("{CLIENTS_MAX} commands run already; wait for one"));
            let _ = write_line(&mut &stream, &busy);
            continue;
        }
        let control = control.clone();
        let client = move || {
            let _counted = counted;
            if let Err(error) = serve(&stream, &control) {
                tracing::debug!(%error, "a client of the control socket is gone");
            }
        };
        if let Err(error) = thread::Builder::new().name("client".into()).spawn(client) {
            tracing::warn!(%error, "no thread for a client of the control socket");
        }
    }
}

fn serve(stream: &UnixStream, control: &Arc<Control>) -> io::Result<()> {
    stream.set_read_timeout(Some(CLIENT_LIMIT))?;
    stream.set_write_timeout(Some(CLIENT_LIMIT))?;
    let mut input = BufReader::new(stream);
    let mut output = stream;
    loop {
        let request = match read_line::<Request>(&mut input) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return write_line(&mut output, &Response::Error(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        let stops = matches!(request, Request::Stop {});
        let mut item =
            |value| write_line(&mut output, &Response::Item(value)).map_err(|e| e.to_string());
        let end = match run(control, request, &mut item) {
            Ok(value) => Response::Done(value),
            Err(error) => Response::Error(error),
        };
        write_line(&mut output, &end)?;
        if stops {
            // Open until the process ends: that is how `ringmail stop` sees the end.
            loop {
                thread::park();
            }
        }
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(clients: &Arc<AtomicUsize>) -> Counted {
        clients.fetch_add(1, Ordering::Relaxed);
        Counted(clients.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Longest path that fits a socket address, with its NUL.
const PATH_MAX: usize = 107;
/// Commands at once: each has a thread.
const CLIENTS_MAX: usize = 16;
/// A client that neither sends nor takes anything for so long is cut off.
const CLIENT_LIMIT: Duration = Duration::from_secs(60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_private_and_may_lie_deep() {
        for depth in [1, 20] {
            let root = std::env::temp_dir().join(format!("ringmail-ctl-{}", std::process::id()));
            let directory = (0..depth).fold(root.clone(), |path, _| path.join("directory"));
            fs::create_dir_all(&directory).unwrap();
            assert_eq!(
                connect(&directory).unwrap_err().kind(),
                io::ErrorKind::NotFound
            );
            let bound = Bound::bind(&directory).unwrap();
            let mode = fs::metadata(directory.join(SOCKET))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
            connect(&directory).unwrap();
            drop(bound);
            let refused = connect(&directory).unwrap_err().kind();
            assert_eq!(refused, io::ErrorKind::ConnectionRefused);
            Bound::bind(&directory).unwrap();
            fs::remove_dir_all(root).unwrap();
        }
    }
}
