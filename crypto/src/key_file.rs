//! Secret keys on disk: PKCS#8 PEM (readable by openssl), and only by their owner.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::SecretKey;

/// Why a key file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file could not be opened, read or created.
    #[error("key file {}: {source}", path.display())]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Somebody besides the owner may read the file.
    #[error("key file {} can be read by others (mode {mode:03o}): run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold an Ed25519 key in PKCS#8 PEM.
    #[error("key file {} holds no Ed25519 private key in PEM form", path.display())]
    Malformed {
        /// The key file.
        path: PathBuf,
    },
}

/// Reads a secret key.
///
/// # Errors
/// [`KeyFileError`]: the file is missing, readable by others than its owner, or no Ed25519 key.
pub fn read(path: &Path) -> Result<SecretKey, KeyFileError> {
    let io = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mut file = fs::File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    io::Read::read_to_string(&mut file, &mut text).map_err(io)?;
    SecretKey::from_pem(&text).ok_or_else(|| KeyFileError::Malformed { path: path.to_owned() })
}

/// Writes a new key file that only its owner can read, and waits until it is on disk.
///
/// # Errors
/// [`KeyFileError::Io`]: among others when the file exists already; a key is never overwritten.
pub fn create(path: &Path, key: &SecretKey) -> Result<(), KeyFileError> {
    let io = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    file.write_all(key.to_pem().as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::Signer as _;

    #[test]
    fn a_key_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("replica.key");
        let key = SecretKey::from_seed(&[9; 32]);
        create(&path, &key).unwrap();
        assert_eq!(read(&path).unwrap().public_key(), key.public_key());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(
            matches!(create(&path, &key), Err(KeyFileError::Io { .. })),
            "a key file is never overwritten"
        );
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("replica.key");
        create(&path, &SecretKey::from_seed(&[9; 32])).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Exposed { mode: 0o640, .. }));
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("replica.key");
        fs::write(&path, "not a key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::Malformed { .. })));
        assert!(matches!(read(&folder.path().join("absent")), Err(KeyFileError::Io { .. })));
    }
}
