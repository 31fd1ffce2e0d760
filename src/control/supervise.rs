//! The main thread while the server runs: signals, wishes from the control socket, the watchdog, certificates that change on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use shards::CoreId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::commands::Control;
use super::notify::{notify, watchdog_period};
use super::protocol::SOCKET;
use super::socket::Bound;
use super::source::Source;
use crate::calls::{Answer, Call};
use crate::serve::Server;

/// What the main thread is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Stop,
    Reload,
}

/// Runs a started server until it is told to stop, and stops it. `ready` is called once everything is open; it prepares
/// what is still missing and ends with [`Server::serving`].
pub fn supervise(
    server: Server,
    source: Source,
    ready: impl FnOnce(&Control) -> Result<(), String>,
) -> Result<(), String> {
    let (wishes, wished) = channel();
    watch_signals(wishes.clone()).map_err(|e| format!("signals: {e}"))?;
    let live = server.live();
    let directory = source.socket_directory(&live.settings).to_path_buf();
    let control = Arc::new(Control::new(server, source, Some(wishes)));
    let socket = Bound::bind(&directory)
        .and_then(|bound| bound.serve(control.clone()))
        .map_err(|e| {
            format!(
                "control socket {}/{SOCKET}: {e}; what lies there must go, and this user must be able to write there",
                directory.display()
            )
        });
    let served = socket.and_then(|socket| {
        ready(&control)?;
        notify("READY=1");
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
        until_stop(&control, &wished);
        drop(socket);
        Ok(())
    });
    notify("STOPPING=1");
    tracing::info!("stopping");
    control.stopping.store(true, Ordering::Relaxed);
    control.server.stop();
    tracing::info!("stopped");
    served
}

fn until_stop(control: &Control, wished: &Receiver<Wish>) {
    let watchdog = watchdog_period();
    let mut certificates = Certificates::new(control);
    let (mut patted, mut looked) = (Instant::now(), Instant::now());
    loop {
        match wished.recv_timeout(watchdog.unwrap_or(TICK).min(TICK)) {
            Ok(Wish::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Wish::Reload) => reload(control),
            Err(RecvTimeoutError::Timeout) => (),
        }
        if watchdog.is_some_and(|period| patted.elapsed() >= period - period / 4) {
            patted = Instant::now();
            if all_cores_answer(&control.server) {
                notify("WATCHDOG=1");
            }
        }
        if looked.elapsed() >= certificates.period {
            looked = Instant::now();
            certificates.look(control);
        }
    }
}

fn reload(control: &Control) {
    notify("RELOADING=1");
    if let Err(error) = control.reload() {
        tracing::error!(%error, "reload failed; the settings before stay in force");
    }
    notify("READY=1");
}

/// A core that is stuck keeps the watchdog from being patted: then systemd starts us anew.
fn all_cores_answer(server: &Server) -> bool {
    (0..server.cores()).all(|core| {
        let answers = matches!(
            server.call(CoreId(core), Call::Scrape),
            Ok(Answer::Samples(..))
        );
        if !answers {
            tracing::error!(core, "a core does not answer");
        }
        answers
    })
}

/// The files of all listeners' certificates, as last seen.
struct Certificates {
    period: Duration,
    seen: BTreeMap<PathBuf, Option<(SystemTime, u64)>>,
}

impl Certificates {
    fn new(control: &Control) -> Certificates {
        let live = control.server.live();
        let listeners = live.settings.server.listener.iter();
        let periods = listeners
            .filter_map(|l| l.tls.as_ref())
            .map(|t| t.reread_secs);
        let shortest = periods.map(|secs| secs.duration()).min();
        Certificates {
            period: shortest.unwrap_or(Duration::MAX).max(TICK),
            seen: Certificates::on_disk(control),
        }
    }

    fn on_disk(control: &Control) -> BTreeMap<PathBuf, Option<(SystemTime, u64)>> {
        let live = control.server.live();
        let tables = live
            .settings
            .server
            .listener
            .iter()
            .filter_map(|l| l.tls.as_ref());
        let pairs = tables.flat_map(|tls| &tls.certificates);
        pairs
            .flat_map(|pair| [&pair.cert, &pair.key])
            .map(|path| {
                let state = fs::metadata(path).ok();
                let state = state.and_then(|m| Some((m.modified().ok()?, m.len())));
                (path.clone(), state)
            })
            .collect()
    }

    fn look(&mut self, control: &Control) {
        let now = Certificates::on_disk(control);
        if now == self.seen {
            return;
        }
        let Some(read) = control.reload_certificates() else {
            return;
        };
        self.seen = now;
        match read {
            Ok(kept) if kept.is_empty() => tracing::info!("certificates changed and were read"),
            Ok(kept) => kept.iter().for_each(|words| tracing::error!("{words}")),
            Err(error) => tracing::error!(%error, "certificates changed and were not read"),
        }
    }
}

fn watch_signals(wishes: Sender<Wish>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let watch = move || {
        let mut stops = 0;
        for signal in signals.forever() {
            let wish = if signal == SIGHUP {
                Wish::Reload
            } else {
                stops += 1;
                Wish::Stop
            };
            if stops > 1 {
                // Asked twice: at once. What was answered is durable.
                std::process::exit(1);
            }
            let _ = wishes.send(wish);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch)?;
    Ok(())
}

/// How often the main thread looks around.
const TICK: Duration = Duration::from_secs(1);
