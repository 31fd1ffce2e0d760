//! Which server `--config` or `--dir` means, whether it runs, and a request to it either way.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shards::storage::Lock;

use super::Failure;
use super::arguments::Arguments;
use super::client::Client;
use crate::control::protocol::Request;
use crate::control::{Control, Source, run};
use crate::serve::Server;
use crate::settings::{Local, Settings};

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

    fn of_config(file: &Path) -> Result<Which, Failure> {
        let source = Source::File(file.to_path_buf());
        let settings = source.load().map_err(|problems| {
            format!(
                "{problems}\nCorrect that first. A server that runs can also be reached by --dir and its data directory"
            )
        })?;
        Ok(Which {
            named: format!("--config {}", file.display()),
            socket_directory: settings.server.data_dir.clone(),
            data_dir: settings.server.data_dir,
            source: Some(source),
        })
    }

    /// The directory of `localserve` has the data in `data`, a data directory has its `format` file at the top.
    pub(super) fn of_directory(dir: &Path) -> Result<Which, Failure> {
        let named = format!("--dir {}", dir.display());
        let data = dir.join("data");
        let (data_dir, source) = if dir.join("format").exists() {
            (dir.to_path_buf(), None)
        } else if data.join("format").exists() {
            (data, Some(Source::Local(Local::new(dir))))
        } else {
            return Err(Failure::Failed(format!(
                "{} is neither a directory of localserve nor a data directory; name the right one, or the settings with --config FILE",
                dir.display()
            )));
        };
        Ok(Which {
            named,
            socket_directory: dir.to_path_buf(),
            data_dir,
            source,
        })
    }

    /// The running server; none if it does not run.
    pub(super) fn running(&self) -> Result<Option<Client>, Failure> {
        Client::connect(&self.socket_directory)
    }

    /// The running server, or an error that says it must run.
    pub(super) fn must_run(&self) -> Result<Client, Failure> {
        self.running()?.ok_or_else(|| {
            let start = match &self.source {
                Some(Source::Local(local)) => {
                    format!("ringmail localserve --dir {}", local.dir.display())
                }
                Some(Source::File(file)) => format!("ringmail serve --config {}", file.display()),
                None => "ringmail serve --config FILE".to_string(),
            };
            Failure::Failed(format!(
                "no server runs on {}; start it with: {start}",
                self.data_dir.display()
            ))
        })
    }

    /// What the settings say, for commands that need no data.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let source = self.source.as_ref().ok_or_else(|| {
            Failure::Failed(format!(
                "no server runs on {}, and a data directory does not say what its settings are; use --config FILE",
                self.data_dir.display()
            ))
        })?;
        source.load().map_err(|e| Failure::Failed(e.to_string()))
    }

    /// Whether the data directory was made already.
    pub(super) fn has_data(&self) -> bool {
        self.data_dir.join("format").exists()
    }

    /// Keeps a server from starting while the settings' files are edited.
    pub(super) fn lock(&self) -> Result<Option<Lock>, Failure> {
        if !self.has_data() {
            return Ok(None);
        }
        self.check_user()?;
        Lock::take(&self.data_dir)
            .map(Some)
            .map_err(|e| Failure::Failed(e.to_string()))
    }

    /// A way to have requests carried out: the running server's socket, or the stopped directory opened for it.
    pub(super) fn open(&self) -> Result<Open, Failure> {
        if let Some(client) = self.running()? {
            return Ok(Open::Running(client));
        }
        let settings = self.settings()?;
        self.check_user()?;
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
                "{data} is not there yet; start the server first, or run this as the user it runs as"
            ))),
        }
    }
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
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Open::Direct(control) = self {
            control.server().stop();
        }
    }
}
