//! The socket's address. The system bounds it to some hundred bytes, and folders of tests are longer than that.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use crate::DataFolder;

/// Lengths up to this fit every system's `sun_path`, the terminating zero included.
const FITS: usize = 100;

/// A path by which the socket can be bound or reached, as long as this lives.
pub(super) struct SocketPath {
    path: PathBuf,
    /// The open folder that a short path goes through.
    _folder: Option<File>,
}

impl SocketPath {
    /// The path of a folder's control socket; by way of the open folder if it is too long (Linux).
    pub(super) fn of(folder: &DataFolder) -> io::Result<Self> {
        let path = folder.control_socket();
        if path.as_os_str().len() <= FITS {
            return Ok(Self { path, _folder: None });
        }
        let opened = File::open(folder.path())?;
        let through = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        if !through.exists() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the path has more than {FITS} bytes: choose a data folder with a shorter one"),
            ));
        }
        let name = path.file_name().unwrap_or_default();
        Ok(Self { path: through.join(name), _folder: Some(opened) })
    }

    pub(super) fn get(&self) -> &std::path::Path {
        &self.path
    }
}
