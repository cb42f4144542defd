//! Removing directories, so that a kill in the middle leaves nothing that looks whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{Context as _, Error, ErrorKind, Result};

/// Removes a directory and all that is in it. One that is not there is no error.
///
/// # Errors
/// [`ErrorKind::Storage`] if something is mounted in it, or it cannot be removed.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    // What is mounted below it is not ours to remove.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if let Some(mount) = mount_below(&mounts, path) {
        return Err(Error::new(
            ErrorKind::Storage,
            format!("remove {}", path.display()),
            format!("something is mounted at {mount}"),
        )
        .hint(format!("Unmount it: umount {mount}.")));
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::from_source(ErrorKind::Storage, format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

/// Removes a directory that others take for whole as long as it has its name: it loses that first. What a kill leaves has
/// the name with a dot before it, and goes when this is called again.
///
/// # Errors
/// As [`remove_tree`].
pub(crate) fn discard(path: &Path) -> Result<()> {
    let hidden = hidden(path);
    remove_tree(&hidden)?;
    hide(path, &hidden)?;
    remove_tree(&hidden)
}

fn hide(path: &Path, hidden: &Path) -> Result<()> {
    match fs::rename(path, hidden) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.tried(ErrorKind::Storage, || format!("hide {}", path.display())),
    }
}

/// The path with a dot before its name.
pub(crate) fn hidden(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}"))
}

/// A mount point at or below `path`, by the fifth field of the lines of proc(5)'s mountinfo.
fn mount_below<'a>(mountinfo: &'a str, path: &Path) -> Option<&'a str> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).find(|point| Path::new(point).starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_not_removed() {
        let mounts = "21 1 254:0 / / rw - ext4 /dev/vda rw\n35 21 0:5 / /home/.root/dev/pts rw - devpts none rw\n";
        assert_eq!(mount_below(mounts, Path::new("/home/.root")), Some("/home/.root/dev/pts"));
        assert_eq!(mount_below(mounts, Path::new("/home/.roo")), None);
    }

    #[test]
    fn what_a_killed_removal_leaves_goes_with_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("thing");
        fs::create_dir_all(path.join("deep")).unwrap();
        hide(&path, &hidden(&path)).unwrap();
        assert!(!path.exists() && dir.path().join(".thing/deep").exists());
        // The next one may find a new thing, or none.
        fs::create_dir_all(path.join("new")).unwrap();
        discard(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        discard(&path).unwrap();
    }
}
