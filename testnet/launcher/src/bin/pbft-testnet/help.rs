//! What commands tell of themselves beside their options.

pub(crate) const EXAMPLES: &str = "\
Without a command it does the main job: starts a cluster, drives load, kills the primary, makes another one lie, \
and judges what the clients saw.

Examples:
  pbft-testnet                            the main job with 4 replicas
  pbft-testnet -n 7 --output out          with 7; out/report.json tells all
  pbft-testnet run testnet/manifests/*.toml    trials that are written down; `run --help` tells how
  pbft-testnet up -n 4 --dir /tmp/net     a cluster that goes on running
  pbft-testnet kill r0 --dir /tmp/net
  pbft-testnet wipe-disk r2 --dir /tmp/net
  pbft-testnet fault set r1 equivocate --for 10s --dir /tmp/net
  pbft-testnet partition r3 --for 5s --dir /tmp/net
  pbft-testnet evidence --dir /tmp/net
  pbft-testnet down --dir /tmp/net
  pbft-testnet sim --for 2m               simulated clusters, dozens a second on each core; no testnet is needed
  pbft-testnet twins --rounds 3           every scenario of replicas that run twice
  pbft-testnet byzzfuzz --all             mutated messages

Exit codes: 0 fine, 1 error, 2 not running or no answer, 3 bad input, 5 unhealthy or interrupted, 99 the verdict failed";

pub(crate) const RUN: &str = "\
A manifest:
  name = \"wipe\"
  description = \"what it shows\"
  nodes = 4
  durability = \"sync\"                        # or memory
  duration = \"20s\"                          # of the load, after the preloading
  patience = \"30s\"                          # with anything that has no limit of its own
  late = []                                  # replicas that only a step starts
  allow_exceed_f = false                     # whether steps may make more than f replicas faulty
  parameters = { view_timeout_ms = 1000 }    # of the cluster, as in cluster.toml
  preload = { keys = 200000, value_bytes = 100 }

  [load]                                     # clients that put, get, delete, swap and count; these are the defaults
  sessions = 6
  depth = 2                                  # operations of a session under way at a time
  records = 1000                             # put before anything is done or measured
  shared_keys = 32                           # that all of them read and write
  own_keys = 0                               # that each writes alone; 0: a new one each time, so the store grows
  think_ms = 0                               # between an answer and the next question
  seed = 0                                   # of all choices

  [[step]]                                   # action: kill pause resume restart wipe-disk start
  at = \"4s\"                                  # target: r0 r1 … primary all next (r0, then r1, and so on)
  action = \"wipe-disk\"
  target = \"r2\"                              # every = \"5s\", repeat = 3: the same again

  [[step]]                                   # a malicious replica
  at = \"5s\"
  action = \"fault\"
  target = \"primary\"
  fault = \"slow:delay=300ms\"                 # or \"clear\"; accomplices = [\"r3\"]
  for = \"5s\"                                 # without it, to the end

  [[step]]                                   # bad lines, to all others or to peers = [\"r0\"]
  at = \"6s\"
  action = \"network\"
  target = \"r1\"
  network = { latency = \"50ms\", jitter = \"10ms\", loss = \"5%\", bandwidth = \"1mbit\" }

  [[step]]                                   # 'r0 | r1,r2', 'r0 > r1' (one way), 'r3' (against all others)
  at = \"8s\"
  action = \"partition\"                       # action = \"heal\" ends it, and bad lines
  partition = \"r3\"
  for = \"3s\"

  [[step]]                                   # a malicious client
  at = \"9s\"
  action = \"attack\"
  attack = \"flood-requests\"                  # clients = 2: its identities

  [expect]                                   # always: no acknowledged write is lost, nobody else is accused
  all_equal_within = \"10s\"                   # after the load
  caught_up_within = \"15s\"                   # after each return of a replica, under load
  pause_at_most = \"2s\"
  throughput_at_least = 100
  accused = []                               # who must be proven guilty; other liars may be
  proof = \"pre-prepare\"                      # the kind of the proof
  view_change = false                        # whether correct replicas must ask for another view
  altered = [\"r1\"]                           # whose strategies must have had an effect
  executed_past = { r3 = 100 }               # a replica's last batch
  growth = { warm_up = \"1m\", memory_percent = 20, disk_percent = 20 }   # what replicas need more at last than at first

With malicious clients, who write too, what the load's clients saw is checked by their own keys.

Examples:
  pbft-testnet run testnet/manifests/wipe-disk.toml
  pbft-testnet run testnet/manifests/*.toml -w json

Times are 500ms, 1.5s, 10m or 2h.

A manifest that is no good ends everything with 3 before anything is started; an expectation that does not hold, or a
trial that cannot be held, ends with 99 after the others have run, and that cluster's files are kept";

pub(crate) const TRIALS: &str = "\
What is stated of a strategy, `fault list NAME` tells. Where a strategy needs an opportunity, the trial makes one: it
kills the primary for a view change, or wipes a disk for a transfer of state; then there are seven replicas.

Examples:
  pbft-testnet trials                     all of them, about ten seconds each
  pbft-testnet trials equivocate lie
  pbft-testnet trials -w json > trials.jsonl

A strategy that does more harm than stated, or that altered, withheld and made no message at all, ends with 99 after the
others were tried, and its cluster's files are kept. stale-reads counts as untried: the load has its reads ordered";

pub(crate) const FAULT: &str = "\
It takes effect at once, without a restart, and --for ends it by itself: the replica keeps the time.

A bad network delays and loses datagrams between this replica and the others, each way, below QUIC, which repeats them.
Clients are left alone. Latency and loss use up nothing of f, as long as something gets through: a replica counts as
cut off when too few others are left to it for a quorum. A link is lost by a partition, or where no handshake gets
through: from a latency of 750ms on, a loss of 75%, or below 26kbit, all of which both ends of a link add to.

Who was told to sign contradictions counts as one of the f for as long as the testnet's folder is there, even when it
behaves again: others keep what it signed. A new testnet starts clean, and --allow-exceed-f goes on with this one.

A strategy that picks a client picks the testnet's own, which loads and pbft-client run as, unless told client=KEY.

Examples:
  pbft-testnet fault set r0 equivocate --for 10s --dir /tmp/net
  pbft-testnet fault set r1 slow --param delay=300ms --dir /tmp/net
  pbft-testnet fault set r2 network --latency 50ms --jitter 10ms --loss 5% --dir /tmp/net
  pbft-testnet fault set r2 network --bandwidth 1mbit --peers r0,r1 --for 30s --dir /tmp/net";

pub(crate) const ATTACK: &str = "\
The client is admitted, with spare keys of the testnet, and speaks to the replicas over real connections. Without --for, Ctrl-C
ends it, and that is no error. Malicious clients are no part of f: any number of them may do no harm to others.

Examples:
  pbft-testnet attack split-requests --for 10s --dir /tmp/net
  pbft-testnet attack flood-requests:rate=2000 --clients 4 --dir /tmp/net";

pub(crate) const EVIDENCE: &str = "\
Examples:
  pbft-testnet evidence --dir /tmp/net
  pbft-testnet evidence -w json --dir /tmp/net | pbft-node verify-evidence --cluster /tmp/net/cluster.toml -
                                          anybody can judge it, without a testnet";

pub(crate) const PARTITION: &str = "\
Replicas that are not named keep all their links, and clients keep theirs. Partitions add up, and `heal` ends them all.
QUIC needs both ways: a link that is cut one way is lost after three seconds, and until then the other way works.
A replica that is left with too few others for a quorum is cut off, and counts as one of the f.

Examples:
  pbft-testnet partition r3 --for 5s --dir /tmp/net
  pbft-testnet partition 'r0 > r1' --dir /tmp/net
  pbft-testnet partition 'r0,r1 | r2,r3' --for 5s --allow-exceed-f --dir /tmp/net
  pbft-testnet heal --dir /tmp/net";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use pbft_testnet::manifest::Manifest;

    use super::RUN;

    /// The manifest that the help shows.
    fn shown() -> String {
        let text = RUN.strip_prefix("A manifest:").unwrap();
        let text = text.split_once("\nWith malicious clients").unwrap().0;
        text.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }

    /// The keys that may stand where this one, which nobody knows, is put.
    fn allowed(text: &str) -> BTreeSet<String> {
        let refused = Manifest::parse(Path::new("some.toml"), text).unwrap_err().to_string();
        let (_, keys) = refused.split_once("unknown field `colour`, expected ").expect(&refused);
        keys.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_manifest_that_is_shown_can_be_run_and_names_every_key() {
        let shown = shown();
        Manifest::parse(Path::new("some.toml"), &shown).unwrap();
        for place in
            ["nodes = 4", "preload = {", "[load]", "[[step]]", "network = {", "[expect]", "growth = {"]
        {
            let given = if place.ends_with('{') { " colour = 1," } else { "\ncolour = 1\n" };
            let keys = allowed(&shown.replacen(place, &format!("{place}{given}"), 1));
            assert!(keys.len() > 1, "{place}: {keys:?}");
            let forms = |key: &str| [format!(" {key} = "), format!("\n{key} = "), format!("[{key}]")];
            for key in keys {
                assert!(forms(&key).iter().any(|form| shown.contains(form)), "{key}");
            }
        }
    }
}
