//! A disk without room: a process whose files may not grow writes until the operating system refuses.

use std::env;
use std::fs;
use std::process::Command;

use super::*;

/// Tells the process that writes where the store is. It is this very test, run again.
const STORE: &str = "PBFT_TEST_FULL_DISK";

/// How many KiB longer than a new store a file of that process may become.
const ROOM: u64 = 2048;

/// How large each record is.
const BYTES: usize = 16 << 10;

/// The most writes: far more than there is room for.
const WRITES: u64 = 10_000;

/// Fault 18: a replica whose disk is full stops with an error that says so, and has what it told others it had.
#[test]
fn fault_18_a_full_disk_ends_the_writer_and_loses_nothing() {
    if let Ok(folder) = env::var(STORE) {
        return write_until_it_fails(&DataFolder::new(folder));
    }
    let folder = Folder::new();
    let most = fs::metadata(folder.folder.store()).unwrap().len() / 1024 + ROOM;
    // Without the trap the signal that comes with the refusal would end the process.
    let script = format!("trap '' XFSZ; ulimit -f {most}; exec \"$0\" \"$@\"");
    let test = "store::tests::full_disk::fault_18_a_full_disk_ends_the_writer_and_loses_nothing";
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).arg(env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    let done = command.env(STORE, folder.folder.path()).output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{told}");
    let (written, why) = told.trim_end().split_once(' ').expect("a number, and the error");
    assert!(why.contains("File too large") && why.contains("make room, then start it again"), "{why}");
    let (written, records) = (written.parse::<u64>().unwrap(), folder.records());
    assert!((10..WRITES).contains(&written), "{written}");
    for at in 1..=written {
        assert!(records.contains(&large(at, BYTES)), "write {at} of {written} is lost");
    }
}

/// Writes, and tells on standard error how many writes were released, and why the next one was not.
fn write_until_it_fails(folder: &DataFolder) {
    let (sender, reports) = channel();
    let report = move |written| drop(sender.send(written));
    let writer = Writer::start(open(folder, &binding()).unwrap().file, report).unwrap();
    let mut released = 0;
    for at in 1..=WRITES {
        writer.persist(WriteId(at), vec![large(at, BYTES)], vec![]);
        loop {
            match reports.recv().unwrap() {
                Written::Durable { id, .. } => {
                    released = id.0;
                    break;
                }
                Written::Failed(error) => return eprintln!("{released} {error}"),
                Written::Committed { .. } | Written::Collected(..) => {}
            }
        }
    }
}
