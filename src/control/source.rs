//! Where the settings of a server come from, and where its control socket lies.

use std::path::{Path, PathBuf};

use crate::settings::{Local, Problems, Settings, Unfinished, load, load_unfinished};

/// Files the operator wrote, or those built in.
#[derive(Clone, Debug)]
pub enum Source {
    /// A static file that names the others.
    File(PathBuf),
    /// `localserve`.
    Local(Local),
}

impl Source {
    /// Reads and checks everything.
    pub fn load(&self) -> Result<Settings, Problems> {
        match self {
            Source::File(file) => load(file),
            Source::Local(local) => local.load(),
        }
    }

    /// The same for those who add accounts: that some are missing is no error yet.
    pub fn load_unfinished(&self) -> Result<Unfinished, Problems> {
        match self {
            Source::File(file) => load_unfinished(file),
            Source::Local(local) => local.load_unfinished(),
        }
    }

    /// The directory of the control socket: that of `localserve`, else the data directory.
    pub fn socket_directory<'s>(&'s self, settings: &'s Settings) -> &'s Path {
        match self {
            Source::File(_) => &settings.server.data_dir,
            Source::Local(local) => &local.dir,
        }
    }
}
