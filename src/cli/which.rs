//! Which server `--config` or `--dir` means, whether it runs, and a request to it either way.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;
use shards::storage::{Lock, is_data_directory};

use super::arguments::Arguments;
use super::client::Client;
use super::{Failure, print};
use crate::control::protocol::{Request, SOCKET};
use crate::control::{Control, Source, run};
use crate::serve::Server;
use crate::settings::local::{LOCAL_CERT, LOCAL_DATA};
use crate::settings::{Local, Settings, Unfinished, load_data_dir};

/// A server, running or not.
pub(super) struct Which {
    /// As the operator named it, to be repeated in texts.
    pub(super) named: String,
    /// Where its control socket lies.
    socket_directory: PathBuf,
    /// Where its data lies.
    pub(super) data_dir: PathBuf,
    /// None for a data directory of which no settings are known.
    source: Option<Source>,
}

impl Which {
    /// By the options; an error if there is nothing that could be meant.
    pub(super) fn of(arguments: &Arguments) -> Result<Which, Failure> {
        match (&arguments.config, &arguments.dir) {
            (Some(_), Some(_)) => Err(Failure::Usage(
                "--config and --dir both say which server; give one of them".into(),
            )),
            (None, None) => Err(Failure::Usage(
                "say which server: --config FILE, or --dir DIR (of localserve, or a data directory)"
                    .into(),
            )),
            (Some(file), None) => Which::of_config(file),
            (None, Some(dir)) => Which::of_directory(dir),
        }
    }

    /// Asks no more of the settings than where the data lies: a server that runs can be stopped whatever became of its files.
    fn of_config(file: &Path) -> Result<Which, Failure> {
        let data_dir = load_data_dir(file).map_err(|problems| {
            format!(
                "{problems}\nCorrect that first. A server that runs can also be reached by --dir and its data directory"
            )
        })?;
        Ok(Which {
            named: format!("--config {}", file.display()),
            socket_directory: data_dir.clone(),
            data_dir,
            source: Some(Source::File(file.to_path_buf())),
        })
    }

    /// The directory of `localserve` has the data in `data`, a data directory has its shards at the top, and its `format` file unless
    /// that was lost.
    pub(super) fn of_directory(dir: &Path) -> Result<Which, Failure> {
        let named = format!("--dir {}", dir.display());
        let data = dir.join(LOCAL_DATA);
        let (dir, data_dir, source) = if let Some(local) = local_of_data(dir) {
            (local.clone(), dir.to_path_buf(), Some(local))
        } else if is_data_directory(dir) {
            (dir.to_path_buf(), dir.to_path_buf(), None)
        } else if is_data_directory(&data)
            // Before its first start has made the data.
            || dir.join(LOCAL_CERT).exists() && !is_denied(&data)
        {
            (dir.to_path_buf(), data, Some(dir.to_path_buf()))
        } else {
            return Err(not_ours(dir, &data));
        };
        Ok(Which {
            named,
            socket_directory: dir,
            data_dir,
            source: source.map(|dir| Source::Local(Local::new(dir))),
        })
    }

    /// The running server; none if it does not run. One that has just been started opens its socket last: that is waited for.
    pub(super) fn running(&self) -> Result<Option<Client>, Failure> {
        let begun = Instant::now();
        loop {
            let client = Client::connect(&self.socket_directory)?;
            if client.is_some() || begun.elapsed() >= START_LIMIT {
                return Ok(client);
            }
            // Which takes its time while the lock is held. An error is told by whoever needs the directory.
            if !Lock::is_taken(&self.data_dir).unwrap_or(false) {
                return Ok(None);
            }
        }
    }

    /// The running server, or an error that says it must run.
    pub(super) fn must_run(&self) -> Result<Client, Failure> {
        if let Some(client) = self.running()? {
            return Ok(client);
        }
        self.must_be_free()?;
        Err(Failure::Failed(format!(
            "no server runs on {}; start it with: {}",
            self.data_dir.display(),
            self.start()
        )))
    }

    /// How the server is started.
    fn start(&self) -> String {
        match &self.source {
            Some(Source::Local(local)) => {
                format!("ringmail localserve --dir {}", local.dir.display())
            }
            Some(Source::File(file)) => format!("ringmail serve --config {}", file.display()),
            None => "ringmail serve --config FILE".to_string(),
        }
    }

    /// That nobody has the directory although no server answers: then neither "it runs" nor "it does not" would be true.
    pub(super) fn must_be_free(&self) -> Result<(), Failure> {
        if !Lock::is_taken(&self.data_dir)? {
            return Ok(());
        }
        let data = self.data_dir.display();
        Err(Failure::Failed(format!(
            "a ringmail process has {data} open and does not answer on {}/{SOCKET}: a server that starts or stops, another command, a localserve that was given another --dir, or a server whose socket was removed. Try again in a moment; if that does not help, fuser {data}/lock names the process: end it, and start the server again",
            self.socket_directory.display()
        )))
    }

    /// What the settings say. For those who add accounts and look at them: that some are missing is no error yet.
    pub(super) fn unfinished(&self) -> Result<Unfinished, Failure> {
        let loaded = self.source()?.load_unfinished();
        loaded.map_err(|e| Failure::Failed(e.to_string()))
    }

    fn source(&self) -> Result<&Source, Failure> {
        self.source.as_ref().ok_or_else(|| {
            Failure::Failed(format!(
                "no server runs on {}, and a data directory does not say what its settings are; use --config FILE",
                self.data_dir.display()
            ))
        })
    }

    /// Whether the data directory was made already. Shards without a format file are damage, which opening names.
    pub(super) fn has_data(&self) -> bool {
        is_data_directory(&self.data_dir)
    }

    /// Keeps a server from starting while the settings' files are edited.
    pub(super) fn lock(&self) -> Result<Option<Lock>, Failure> {
        if !self.has_data() {
            return Ok(None);
        }
        self.check_user()?;
        self.must_be_free()?;
        Ok(Some(Lock::take(&self.data_dir)?))
    }

    /// That there is something to look at: a command that only reads makes no directory.
    pub(super) fn must_have_data(&self) -> Result<(), Failure> {
        if self.has_data() {
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "there is nothing in {} yet; the first start makes it: {}",
            self.data_dir.display(),
            self.start()
        )))
    }

    /// That there is an account of the name, as far as files say: a server that runs on a data directory knows best.
    pub(super) fn must_name_an_account(&self, name: &str) -> Result<(), Failure> {
        match self.unfinished() {
            Ok(unfinished) if !unfinished.settings.accounts.contains_key(name) => {
                Err(Failure::Failed(format!(
                    "there is no account {name}; ringmail account list {} names those there are, ringmail account add {} {name} ADDRESS adds it",
                    self.named, self.named
                )))
            }
            _ => Ok(()),
        }
    }

    /// A way to have requests carried out: the running server's socket, or the stopped directory opened for it.
    pub(super) fn open(&self) -> Result<Open, Failure> {
        match self.running()? {
            Some(client) => Ok(Open::Running(client)),
            None => self.open_stopped(self.unfinished()?.settings),
        }
    }

    /// The same for a command that only reads.
    pub(super) fn open_to_read(&self) -> Result<Open, Failure> {
        match self.running()? {
            Some(client) => Ok(Open::Running(client)),
            None => {
                self.must_have_data()?;
                self.open_stopped(self.unfinished()?.settings)
            }
        }
    }

    /// Opens the directory with settings of the caller; no server runs there.
    fn open_stopped(&self, settings: Settings) -> Result<Open, Failure> {
        self.check_user()?;
        self.must_be_free()?;
        let server = Server::start_alone(settings)?;
        let source = self
            .source
            .clone()
            .unwrap_or_else(|| Source::File(PathBuf::new()));
        Ok(Open::Direct(Box::new(Control::direct(server, source))))
    }

    /// Files that root makes in another user's directory would keep that user's server from starting.
    fn check_user(&self) -> Result<(), Failure> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let data = self.data_dir.display();
        match fs::metadata(&self.data_dir).map(|m| m.uid()) {
            Ok(0) => Ok(()),
            Ok(owner) => Err(Failure::Failed(format!(
                "{data} belongs to user {owner} and no server runs; run this as that user, for what root writes there that user could not read"
            ))),
            Err(_) => Err(Failure::Failed(format!(
                "{data} is not there yet. Start the server ({}) and repeat this: it carries it out. Or run this as the user the server runs as, who could not read what root makes there",
                self.start()
            ))),
        }
    }
}

/// The directory of `localserve` that a data directory is in. With a socket beside the data it is one of `serve`.
fn local_of_data(data: &Path) -> Option<PathBuf> {
    let data = data.canonicalize().ok()?;
    let dir = data.parent()?;
    let is_local = data.ends_with(LOCAL_DATA)
        && is_data_directory(&data)
        && !data.join(SOCKET).exists()
        && dir.join(LOCAL_CERT).exists();
    is_local.then(|| dir.to_path_buf())
}

/// Why neither a directory nor what would be its data can be meant.
fn not_ours(dir: &Path, data: &Path) -> Failure {
    if let Some(denied) = [data, dir].into_iter().find(|path| is_denied(path)) {
        return Failure::denied(denied);
    }
    let dir_named = dir.display();
    Failure::Failed(if dir.exists() {
        format!(
            "{dir_named} is neither a directory of localserve nor a data directory that a server has started on; name the right one"
        )
    } else {
        format!("there is no directory {dir_named}; name the right one")
    })
}

fn is_denied(directory: &Path) -> bool {
    fs::read_dir(directory).is_err_and(|e| e.kind() == ErrorKind::PermissionDenied)
}

/// A server that carries out requests.
pub(super) enum Open {
    Running(Client),
    Direct(Box<Control>),
}

impl Open {
    pub(super) fn request(
        &mut self,
        request: &Request,
        item: &mut dyn FnMut(Value) -> Result<(), Failure>,
    ) -> Result<Value, Failure> {
        match self {
            Open::Running(client) => client.request(request, item),
            Open::Direct(control) => {
                // Items and errors cross as text; a failure of ours is kept aside.
                let mut failed = None;
                let mut each = |value| {
                    item(value).map_err(|failure| {
                        failed = Some(failure);
                        String::new()
                    })
                };
                run(control, request.clone(), &mut each)
                    .map_err(|text| failed.unwrap_or(Failure::Failed(text)))
            }
        }
    }

    /// Asks for a list page by page and prints it; answers how many items there were. Where the next page begins is the server's to say: it is
    /// handed back as it came. What it has to leave out is a failure, once all else is printed.
    pub(super) fn pages<P: DeserializeOwned>(
        &mut self,
        page_after: impl Fn(Option<P>) -> Request,
        line: impl Fn(&Value) -> String,
    ) -> Result<usize, Failure> {
        let (mut after, mut count) = (None, 0);
        let mut missing = Vec::new();
        loop {
            let mut page = String::new();
            let done = self.request(&page_after(after), &mut |item| {
                count += 1;
                page.push_str(&line(&item));
                Ok(())
            })?;
            print(&page)?;
            let whys = done["missing"].as_array().into_iter().flatten();
            missing.extend(whys.filter_map(|why| why.as_str().map(str::to_owned)));
            after = serde_json::from_value(done["next"].clone()).unwrap_or(None);
            if after.is_none() && missing.is_empty() {
                return Ok(count);
            }
            if after.is_none() {
                let whys = missing.join("; ");
                return Err(Failure::Failed(format!("this is not all: {whys}")));
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Open::Direct(control) = self {
            control.server().stop();
        }
    }
}

/// How long a server may have the directory without a socket before that is strange.
const START_LIMIT: Duration = Duration::from_secs(5);
