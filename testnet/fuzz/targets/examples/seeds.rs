//! Writes the seeds: `cargo run -p pbft-fuzz-targets --example seeds`.

use std::fs;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    for seed in pbft_fuzz_targets::seeds() {
        let folder = folder.join(seed.target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(seed.name), seed.content)?;
    }
    Ok(())
}
