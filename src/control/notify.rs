//! What systemd wants to be told: sd_notify(3), one datagram to the socket it names. Without systemd nothing happens.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Tells the service manager a state, such as `READY=1`. Best effort: whether it listens changes nothing for us.
pub fn notify(state: &str) {
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(&socket, state)
    {
        tracing::warn!(%error, "the service manager could not be told {state:?}");
    }
}

fn send(socket: &OsString, state: &str) -> io::Result<()> {
    let path = socket.as_bytes();
    // A leading @ stands for the abstract name space.
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let datagram = UnixDatagram::unbound()?;
    // A service manager that does not read must not hold us back.
    datagram.set_write_timeout(Some(SEND_LIMIT))?;
    datagram.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

/// How often the watchdog wants a sign of life: half of the time after which it gives up. None without a watchdog, or for another process.
pub fn watchdog_period() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    let period = Duration::from_micros(number("WATCHDOG_USEC")? / 2);
    (!period.is_zero()).then_some(period)
}

const SEND_LIMIT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_arrive_at_both_kinds_of_names() {
        let path = std::env::temp_dir().join(format!("ringmail-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let by_path = UnixDatagram::bind(&path).unwrap();
        send(&path.clone().into(), "READY=1").unwrap();
        let name = format!("ringmail-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        send(&format!("@{name}").into(), "STOPPING=1").unwrap();
        let mut buffer = [0; 32];
        let length = by_path.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
        let length = by_name.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"STOPPING=1");
        std::fs::remove_file(&path).unwrap();
        assert!(send(&path.into(), "READY=1").is_err());
    }
}
