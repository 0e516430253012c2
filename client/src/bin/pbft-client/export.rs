//! Writes the whole store as lines.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use pbft_client::Pages;
use pbft_service::kv::{Keys, Range};

use crate::arguments::{Export, Options};
use crate::connect::Connection;
use crate::failure::{Failure, Outcome};
use crate::lines;

pub(crate) async fn run(options: &Options, arguments: &Export) -> Outcome {
    let connection = Connection::open(options).await?;
    let range = Range { revision: arguments.revision, ..Range::new(Keys::prefix("")) };
    let mut pages = connection.store.pages(range);
    match &arguments.output {
        None => {
            let mut stdout = BufWriter::new(io::stdout());
            write_pages(&mut pages, |bytes| stdout.write_all(bytes).map_err(Failure::from)).await?;
            stdout.flush()?;
        }
        Some(path) => {
            let mut file = Replacement::create(path)?;
            write_pages(&mut pages, |bytes| file.write(bytes)).await?;
            file.finish()?;
        }
    }
    connection.close().await;
    Ok(())
}

async fn write_pages(pages: &mut Pages<'_>, mut write: impl FnMut(&[u8]) -> Outcome) -> Outcome {
    let incomplete = "the export is incomplete";
    while let Some(page) = pages.next().await.map_err(|error| Failure::from(error).context(incomplete))? {
        for entry in &page.answer.entries {
            let line = lines::format(entry).map_err(|what| Failure::error(what).context(incomplete))?;
            write(&line)?;
        }
    }
    Ok(())
}

/// A file that takes another's place once it is complete, so that half an export is never mistaken for a whole one.
struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    finished: bool,
}

impl Replacement {
    fn create(path: &Path) -> Outcome<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(|error| {
            Failure::bad_input(format!("cannot write {}: {error}; choose another --output", path.display()))
        })?;
        Ok(Self { path: path.to_owned(), temporary, file: BufWriter::new(file), finished: false })
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::error(format!("cannot write {}: {error}", self.path.display()))
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome {
        self.file.write_all(bytes).map_err(|error| self.failure(&error))
    }

    fn finish(mut self) -> Outcome {
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        written
            .and_then(|()| fs::rename(&self.temporary, &self.path))
            .map_err(|error| self.failure(&error))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.finished {
            // If it cannot be removed it stays, under a name that tells what it is.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.tsv");
        fs::write(&path, "old").unwrap();
        let mut file = Replacement::create(&path).unwrap();
        file.write(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let mut file = Replacement::create(&path).unwrap();
        file.write(b"whole").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_bad_place_is_bad_input() {
        let failure = Replacement::create(Path::new("no such folder/export.tsv")).err().unwrap();
        assert_eq!(failure.code(), 3);
        assert!(failure.line().unwrap().contains("no such folder/export.tsv"));
    }
}
