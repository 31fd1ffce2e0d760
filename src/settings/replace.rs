//! Puts a file in place as a whole: whoever reads it, and whatever power failure comes, sees the old content or the new one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Makes a file that must not exist yet. Fails with `AlreadyExists` when it does, and leaves it as it is.
pub(super) fn create(path: &Path, content: &str) -> io::Result<()> {
    let permissions = fs::Permissions::from_mode(FILE_MODE);
    let temporary = write_temporary(path, content, Some(permissions))?;
    // A link, other than a rename, never takes the place of a file that somebody made meanwhile.
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    linked.and(removed)?;
    sync_folder(path)
}

/// Makes a file that must not exist yet, for its owner alone to read; its folder too, if that is not there. Where root makes them, they are
/// for whoever owns `data_dir`: the server's user, who may have put links where root writes.
pub fn create_secret(path: &Path, content: &str, data_dir: &Path) -> io::Result<()> {
    let owner = fs::metadata(data_dir).ok();
    let owner = owner.filter(|_| rustix::process::geteuid().is_root());
    let give = |file: &File| match &owner {
        Some(owner) => fchown(file, Some(owner.uid()), Some(owner.gid())),
        None => give_to_owner_of_folder(file, path),
    };
    let folder = folder_of(path);
    if !folder.exists() {
        create_folder(folder)?;
        let no_link = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits() as i32;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(no_link)
            .open(folder);
        give(&opened?)?;
    }
    // A new file is nobody's link.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(SECRET_MODE)
        .open(path)?;
    let written = file
        .write_all(content.as_bytes())
        .and_then(|()| give(&file))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written?;
    sync_folder(path)
}

/// Makes a folder that may be there already; its parent must be.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => {
            fs::set_permissions(path, fs::Permissions::from_mode(FOLDER_MODE))?;
            give_to_owner_of_folder(&File::open(path)?, path)?;
            sync_folder(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Replaces a file, keeping its mode.
pub(super) fn replace(path: &Path, content: &str) -> io::Result<()> {
    let permissions = fs::metadata(path)?.permissions();
    let temporary = write_temporary(path, content, Some(permissions))?;
    rename(&temporary, path)
}

fn rename(temporary: &Path, path: &Path) -> io::Result<()> {
    if let Err(error) = fs::rename(temporary, path) {
        let _ = fs::remove_file(temporary);
        return Err(error);
    }
    sync_folder(path)
}

/// Puts a file in place, whether there is one or not, with a mode.
pub fn put(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let permissions = fs::Permissions::from_mode(mode);
    let temporary = write_temporary(path, content, Some(permissions))?;
    rename(&temporary, path)
}

/// Removes a file, durably.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_folder(path)
}

/// Writes and syncs a file beside the one it is for; its name begins with a dot, so no reader of the folder takes it for an account.
fn write_temporary(
    path: &Path,
    content: &str,
    permissions: Option<fs::Permissions>,
) -> io::Result<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = write_synced(&temporary, content, permissions);
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map(|()| temporary)
}

fn write_synced(
    path: &Path,
    content: &str,
    permissions: Option<fs::Permissions>,
) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(path)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    give_to_owner_of_folder(&file, path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// What root makes is for whoever owns the folder: the server's user could not read it else, and the server would not start.
fn give_to_owner_of_folder(file: &File, path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let folder = fs::metadata(folder_of(path))?;
    fchown(file, Some(folder.uid()), Some(folder.gid()))
}

/// A new name is durable only once its directory is.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Mode of a new file, whatever the umask: the owner writes, the group reads.
const FILE_MODE: u32 = 0o640;
/// Of a file with a secret.
const SECRET_MODE: u32 = 0o600;
/// The same for a new folder.
const FOLDER_MODE: u32 = 0o750;
