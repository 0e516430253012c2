//! What a replica makes of a store that is not as it was written: a byte of its files is changed while it is stopped,
//! and it is started again. It must refuse, with an error that names the remedy, or come to the same state as the
//! others (D6, D7). Anything else would be to execute or to vote on damage.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use pbft_messages::ReplicaId;

use crate::traffic::Plan;
use crate::trial::acts::load_records;
use crate::trial::{Progress, Trial, empty_table};
use crate::{Folder, Lifetime, Options, Roots, TestnetError};

/// The replica whose disk is damaged: a backup, so that nothing else changes while it is away.
const VICTIM: ReplicaId = ReplicaId(3);

/// What every error of a replica that refuses its files contains: the command that helps.
const REMEDY: &str = "pbft-node recover";

/// What to try.
#[derive(Clone, Debug)]
pub struct Damage {
    /// How many times.
    pub tries: usize,
    /// The seed that chooses files and bytes.
    pub seed: u64,
    /// Where the replicas live.
    pub folder: PathBuf,
    /// How long a replica may take to come to the others' state.
    pub patience: Duration,
}

/// What came of all tries.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DamageReport {
    /// The seed.
    pub seed: u64,
    /// For each file that was damaged, what came of it.
    pub files: BTreeMap<String, Outcomes>,
    /// What must not be, each a sentence.
    pub failures: Vec<String>,
}

/// How many tries ended in what way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// The replica refused to run, and named the remedy.
    pub refused: usize,
    /// It ran, and came to the others' state.
    pub harmless: usize,
    /// Anything else.
    pub failed: usize,
}

/// What came of one try.
enum Outcome {
    Refused,
    Harmless,
    Failed(String),
}

/// Runs a small cluster with some state, and damages one replica's files again and again. Dropping the future kills
/// the replicas.
///
/// # Errors
/// [`TestnetError`], where it could not be tried.
pub async fn run(damage: Damage, progress: Arc<dyn Progress>) -> Result<DamageReport, TestnetError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| TestnetError::File { path, source }
    };
    let options = Options {
        n: Some(4),
        lifetime: Lifetime::Tethered,
        ..Options::new(&damage.folder).map_err(file(&damage.folder))?
    };
    progress.step("starting 4 replicas, and writing some state");
    let mut trial = Trial::begin(options, damage.patience).await?;
    let plan = Plan { seed: damage.seed, ..Plan::default() };
    let mut traffic = trial.traffic(plan).await.map_err(TestnetError::NoService)?;
    if !load_records(&mut traffic, damage.patience).await {
        return Err(TestnetError::NoService("it stands still".into()));
    }
    traffic.stop(damage.patience).await;
    trial.testnet.kill(VICTIM).await?;
    let folder = trial.testnet.folder().clone();
    let (own, sound) = (folder.replica(VICTIM), folder.path().join("sound"));
    copy(&own, &sound).map_err(file(&sound))?;

    let mut random = StdRng::seed_from_u64(damage.seed);
    let mut report = DamageReport { seed: damage.seed, ..DamageReport::default() };
    for number in 1..=damage.tries {
        restore(&folder, &sound).map_err(file(&own))?;
        let spot = Spot::choose(&folder, &mut random).map_err(file(&own))?;
        spot.damage().map_err(file(&spot.path))?;
        let outcome = attempt(&mut trial, damage.patience).await?;
        report.note(number, &spot, outcome);
        let Outcomes { refused, harmless, failed } = report.total();
        progress.live(&format!("{number} tries: {refused} refused, {harmless} harmless, {failed} failed"));
    }
    for accusation in trial.testnet.evidence().await?.evidence {
        report.failures.push(format!("{} is proven guilty by what it said on damage", accusation.accused));
    }
    trial.end().await?;
    Ok(report)
}

/// Starts the victim from its damaged files, and sees what becomes of it. It does not run any more afterwards.
async fn attempt(trial: &mut Trial, patience: Duration) -> Result<Outcome, TestnetError> {
    let log = trial.testnet.folder().log(VICTIM);
    let before = fs::metadata(&log).map_or(0, |metadata| metadata.len());
    let (dead, equal) = match trial.testnet.restart(VICTIM).await {
        Err(TestnetError::DidNotStart { .. }) => (true, false),
        Err(error) => return Err(error),
        Ok(()) => {
            let settled = trial.testnet.status_when(patience, Roots::Asked, |status| {
                let dead = status.of(VICTIM).is_some_and(|status| !status.alive);
                dead || (status.faults_in_use == 0 && status.common_root().is_some())
            });
            let settled = settled.await?;
            let status = settled.as_ref().unwrap_or_else(|last| last);
            let dead = status.of(VICTIM).is_some_and(|status| !status.alive);
            if !dead {
                trial.testnet.kill(VICTIM).await?;
            }
            (dead, settled.is_ok())
        }
    };
    let said = fs::read(&log).map_err(|source| TestnetError::File { path: log, source })?;
    let said = String::from_utf8_lossy(said.get(before as usize..).unwrap_or_default()).into_owned();
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing").trim().to_owned();
    Ok(if said.contains("panicked at") {
        Outcome::Failed(format!("it panicked: {last}"))
    } else if dead && last.starts_with("error: ") && last.contains(REMEDY) {
        Outcome::Refused
    } else if dead {
        Outcome::Failed(format!("it ended without naming the remedy: {last}"))
    } else if equal {
        Outcome::Harmless
    } else {
        Outcome::Failed("it ran, and did not come to the others' state".into())
    })
}

/// One byte of one file.
struct Spot {
    path: PathBuf,
    /// The file's name, as people tell files of one kind together.
    kind: String,
    place: u64,
    /// What the byte is changed by; not 0.
    change: u8,
}

impl Spot {
    /// Chooses a file, then a byte in it.
    fn choose(folder: &Folder, random: &mut StdRng) -> io::Result<Self> {
        let own = folder.replica(VICTIM);
        let [older, newer] = folder.events(VICTIM);
        // Not of the store: the key, and what is written for people.
        let spared = [folder.replica_key(VICTIM), folder.log(VICTIM), older, newer];
        let mut all = files(&own)?;
        all.retain(|(path, size)| *size > 0 && !spared.contains(path));
        if all.is_empty() {
            return Err(io::Error::other("there is no file to damage"));
        }
        all.sort();
        let (path, size) = all.swap_remove(random.random_range(0..all.len()));
        let name = path.strip_prefix(&own).unwrap_or(&path).display().to_string();
        // Files that differ by a number are of one kind.
        let mut kind = name.replace(|it: char| it.is_ascii_digit(), "#");
        while kind.contains("##") {
            kind = kind.replace("##", "#");
        }
        Ok(Self { path, kind, place: random.random_range(0..size), change: random.random_range(1..=255) })
    }

    fn damage(&self) -> io::Result<()> {
        let mut content = fs::read(&self.path)?;
        // The place was chosen within the file.
        content[self.place as usize] ^= self.change;
        fs::write(&self.path, content)
    }
}

impl DamageReport {
    fn note(&mut self, number: usize, spot: &Spot, outcome: Outcome) {
        let outcomes = self.files.entry(spot.kind.clone()).or_default();
        match outcome {
            Outcome::Refused => outcomes.refused += 1,
            Outcome::Harmless => outcomes.harmless += 1,
            Outcome::Failed(why) => {
                outcomes.failed += 1;
                let (path, place, change) = (spot.path.display(), spot.place, spot.change);
                self.failures
                    .push(format!("try {number}, byte {place} of {path} changed by {change:#04x}: {why}"));
            }
        }
    }

    /// All files together.
    #[must_use]
    pub fn total(&self) -> Outcomes {
        self.files.values().fold(Outcomes::default(), |sum, it| Outcomes {
            refused: sum.refused + it.refused,
            harmless: sum.harmless + it.harmless,
            failed: sum.failed + it.failed,
        })
    }

    /// What came of it, for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = empty_table();
        table.set_header(["One byte of", "refused", "harmless", "failed"]);
        let mut row = |name: &str, it: Outcomes| {
            table.add_row([name, &it.refused.to_string(), &it.harmless.to_string(), &it.failed.to_string()]);
        };
        self.files.iter().for_each(|(name, outcomes)| row(name, *outcomes));
        row("all files", self.total());
        let verdict = match &self.failures[..] {
            [] => "PASS: each damage was refused with its remedy, or did no harm".to_owned(),
            failures => format!("FAIL: {}", failures.join("\n      ")),
        };
        format!("{table}\n{verdict}\nseed {}", self.seed)
    }
}

/// Every regular file below a folder, with its size.
fn files(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            found.extend(files(&entry.path())?);
        } else if metadata.is_file() {
            found.push((entry.path(), metadata.len()));
        }
    }
    Ok(found)
}

/// Copies a folder's regular files; folders are made as needed.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Gives the victim its sound files back. Its log goes on.
fn restore(folder: &Folder, sound: &Path) -> io::Result<()> {
    let (own, log) = (folder.replica(VICTIM), folder.log(VICTIM));
    let said = fs::read(&log)?;
    fs::remove_dir_all(&own)?;
    copy(sound, &own)?;
    fs::write(log, said)
}
