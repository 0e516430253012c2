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

use pbft_client::KvClient;
use pbft_messages::{ParametersTable, ReplicaId};

use crate::traffic::Preload;
use crate::trial::{Progress, Trial, empty_table};
use crate::{ClusterStatus, Folder, Lifetime, Options, Roots, TestnetError};

/// The replica whose disk is damaged: a backup, so that nothing else changes while it is away.
const VICTIM: ReplicaId = ReplicaId(3);

/// What every error of a replica that refuses its files contains: the command that helps.
const REMEDY: &str = "pbft-node recover";

/// The cluster's checkpoint interval: small, so that a replica soon uses what it keeps.
const INTERVAL: u64 = 8;

/// How many writes, each a batch of its own, a replica must do before its damage counts as harmless: enough that it
/// takes two checkpoints at least, and collects what the first one replaces.
const USES: u64 = 3 * INTERVAL;

/// The state: enough that most of what the files hold is in use, and not what earlier checkpoints left behind.
const STATE: Preload = Preload { keys: 10_000, value_bytes: 100 };

/// One try in so many damages a file that is chosen among all alike, so that small ones have their turn; the others
/// choose among all bytes.
const SMALL_FILES: u32 = 8;

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
    /// It ran, came to the others' state, took part in checkpoints, and still had the others' state.
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
        parameters: ParametersTable {
            checkpoint_interval: Some(INTERVAL),
            window: Some(2 * INTERVAL),
            ..ParametersTable::default()
        },
        ..Options::new(&damage.folder).map_err(file(&damage.folder))?
    };
    progress.step("starting 4 replicas, and writing some state");
    let mut trial = Trial::begin(options, damage.patience).await?;
    let client = trial.connector.open_session().await.map_err(|error| no_service(&error))?;
    STATE.put(&client).await.map_err(|error| no_service(&error))?;
    let client = KvClient::new(client);
    use_state(&client, 0, USES).await?;
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
        let (ran, outcome) = attempt(&mut trial, &client, damage.patience).await?;
        if ran {
            rejoin(&mut trial, &client, damage.patience).await?;
            fs::remove_dir_all(&sound).and_then(|()| copy(&own, &sound)).map_err(file(&sound))?;
        }
        report.note(number, &spot, outcome);
        let Outcomes { refused, harmless, failed } = report.total();
        progress.live(&format!("{number} tries: {refused} refused, {harmless} harmless, {failed} failed"));
    }
    for accusation in trial.testnet.evidence().await?.accusations() {
        report.failures.push(format!("{} is proven guilty by what it said on damage", accusation.accused));
    }
    trial.end().await?;
    Ok(report)
}

fn no_service(why: &dyn std::fmt::Display) -> TestnetError {
    TestnetError::NoService(why.to_string())
}

/// Starts the victim from its damaged files, and sees what becomes of it, and whether it ran so far that it may have
/// voted. It does not run any more afterwards.
async fn attempt(
    trial: &mut Trial,
    client: &KvClient,
    patience: Duration,
) -> Result<(bool, Outcome), TestnetError> {
    let log = trial.testnet.folder().log(VICTIM);
    let before = fs::metadata(&log).map_or(0, |metadata| metadata.len());
    let (ran, dead, equal) = match trial.testnet.restart(VICTIM, false).await {
        Err(TestnetError::DidNotStart { .. }) => (false, true, false),
        Err(error) => return Err(error),
        Ok(()) => {
            let mut standing = settles(trial, 0, patience).await?;
            if let Standing::Equal { executed } = standing {
                use_state(client, executed, USES).await?;
                standing = settles(trial, executed + INTERVAL, patience).await?;
            }
            let dead = standing == Standing::Dead;
            if !dead {
                trial.testnet.kill(VICTIM).await?;
            }
            (true, dead, matches!(standing, Standing::Equal { .. }))
        }
    };
    let said = fs::read(&log).map_err(|source| TestnetError::File { path: log, source })?;
    let said = String::from_utf8_lossy(said.get(before as usize..).unwrap_or_default()).into_owned();
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing").trim().to_owned();
    let outcome = if said.contains("panicked at") {
        Outcome::Failed(format!("it panicked: {last}"))
    } else if dead && last.starts_with("error: ") && last.contains(REMEDY) {
        Outcome::Refused
    } else if dead {
        Outcome::Failed(format!("it ended without naming the remedy: {last}"))
    } else if equal {
        Outcome::Harmless
    } else {
        Outcome::Failed("it ran, and did not come to the others' state".into())
    };
    Ok((ran, outcome))
}

/// Gives a victim that has run a sound disk again, with some votes on it; it does not run any more afterwards. It may
/// have voted on the damaged one, so an older copy would be a fault of its own, free to contradict what was said since: only a
/// recovery makes it forget nothing (D8).
async fn rejoin(trial: &mut Trial, client: &KvClient, patience: Duration) -> Result<(), TestnetError> {
    trial.testnet.wipe_disk(VICTIM, false).await?;
    match settles(trial, 0, patience).await? {
        Standing::Equal { executed } => use_state(client, executed, INTERVAL / 2).await?,
        other => return Err(no_service(&format!("{VICTIM} does not rejoin with an empty disk: {other:?}"))),
    }
    trial.testnet.kill(VICTIM).await
}

/// Where the victim is in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Its process has ended.
    Dead,
    /// It has the others' state after the batch of this sequence.
    Equal { executed: u64 },
    /// Neither, within the patience.
    Apart,
}

/// Waits until the victim has ended, or has the others' state and a stable checkpoint at `stable` or later.
async fn settles(trial: &Trial, stable: u64, patience: Duration) -> Result<Standing, TestnetError> {
    let standing = |status: &ClusterStatus| match (status.of(VICTIM), status.common_root()) {
        (Some(victim), _) if !victim.alive => Standing::Dead,
        (Some(victim), Some((executed, _))) if status.faults_in_use == 0 && victim.stable >= Some(stable) => {
            Standing::Equal { executed }
        }
        _ => Standing::Apart,
    };
    let settled = |status: &ClusterStatus| standing(status) != Standing::Apart;
    let settled = trial.testnet.status_when(patience, Roots::Asked, settled).await?;
    Ok(standing(settled.as_ref().unwrap_or_else(|last| last)))
}

/// Has the cluster execute so many batches, one after the other, so that every replica uses what it has. `executed` makes the
/// keys new.
async fn use_state(client: &KvClient, executed: u64, batches: u64) -> Result<(), TestnetError> {
    for number in 0..batches {
        let put = client.put(format!("damage/{}", executed + number), "used").await;
        put.map_err(|error| no_service(&error))?;
    }
    Ok(())
}

/// One byte of one file.
struct Spot {
    path: PathBuf,
    /// The file's name, as people tell files of one kind together.
    kind: String,
    place: usize,
    /// What the byte is changed by; not 0.
    change: u8,
}

impl Spot {
    /// Chooses a byte of the store. What is 0 is left alone: most of it was never written.
    fn choose(folder: &Folder, random: &mut StdRng) -> io::Result<Self> {
        let own = folder.replica(VICTIM);
        let [older, newer] = folder.events(VICTIM);
        // Not of the store: the key, and what is written for people.
        let spared = [folder.replica_key(VICTIM), folder.log(VICTIM), older, newer];
        let mut paths = files(&own)?;
        paths.retain(|path| !spared.contains(path));
        paths.sort();
        let all = paths.into_iter().map(|path| {
            let content = fs::read(&path)?;
            Ok((path, (0..content.len()).filter(|place| content[*place] != 0).collect()))
        });
        let mut all = all.collect::<io::Result<Vec<(PathBuf, Vec<usize>)>>>()?;
        all.retain(|(_, places)| !places.is_empty());
        let weights: Vec<_> = all.iter().map(|(_, places)| places.len()).collect();
        if all.is_empty() {
            return Err(io::Error::other("there is no file to damage"));
        }
        let (index, nth) = choose_byte(&weights, random);
        let (path, places) = all.swap_remove(index);
        let name = path.strip_prefix(&own).unwrap_or(&path).display().to_string();
        // Files that differ by a number are of one kind.
        let mut kind = name.replace(|it: char| it.is_ascii_digit(), "#");
        while kind.contains("##") {
            kind = kind.replace("##", "#");
        }
        Ok(Self { path, kind, place: places[nth], change: random.random_range(1..=255) })
    }

    fn damage(&self) -> io::Result<()> {
        let mut content = fs::read(&self.path)?;
        // The place was chosen within the file.
        content[self.place] ^= self.change;
        fs::write(&self.path, content)
    }
}

/// Chooses one byte of files with so many bytes, none of them 0, of at least one file: which file, and which of its
/// bytes.
fn choose_byte(sizes: &[usize], random: &mut StdRng) -> (usize, usize) {
    if random.random_ratio(1, SMALL_FILES) {
        let file = random.random_range(0..sizes.len());
        return (file, random.random_range(0..sizes[file]));
    }
    let mut nth = random.random_range(0..sizes.iter().sum());
    let passed = sizes.iter().take_while(|size| {
        let beyond = nth >= **size;
        nth -= if beyond { **size } else { 0 };
        beyond
    });
    (passed.count(), nth)
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

/// Every regular file below a folder.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push(entry.path());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_chance_and_every_file_its_turn() {
        let mut random = StdRng::seed_from_u64(7);
        let sizes = [12, 50_000, 100_000];
        let mut hits = [0; 3];
        for _ in 0..3000 {
            let (file, nth) = choose_byte(&sizes, &mut random);
            assert!(nth < sizes[file]);
            hits[file] += 1;
        }
        // An eighth of the tries falls on the three files alike, and the rest follows the sizes.
        for (hits, expected) in hits.into_iter().zip([125, 1000, 1875]) {
            assert!(i32::abs(hits - expected) < 100, "{hits}, about {expected} expected");
        }
        let ends: std::collections::BTreeSet<_> =
            (0..200).map(|_| choose_byte(&[1, 2], &mut random)).collect();
        assert_eq!(ends, [(0, 0), (1, 0), (1, 1)].into(), "the first and the last byte are among them");
    }
}
