//! The threads that verify, and the lines that they work on.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use pbft_messages::ClientId;

use super::check::{Checked, Checker, Job};
use super::line::{Line, LineId};
use crate::inbound::Class;
use crate::sockets::client_frame_bytes;

/// The threads. Dropping the pool lets them end after what they work on; [`Pool::stop`] waits for them.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    checker: Checker,
    width: usize,
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    lines: HashMap<LineId, Line<Job, Checked>>,
    rows: Rows,
    /// Clients that have sent a bad signature since the replica started; at most all that are admitted.
    suspects: HashSet<ClientId>,
    asleep: usize,
    stopped: bool,
}

/// Lines with something to do, by class, and those of suspects; each stands in a row once.
#[derive(Default)]
struct Rows {
    rows: [VecDeque<LineId>; 4],
    taken: usize,
}

/// What a thread does at once: of one line, or of many lines of clients.
///
/// Nobody waits for company: what waits when a thread comes for it is checked together, one frame or hundreds. A bad
/// signature among them costs the others a second check, each alone, which would be a cheap way to slow them down. So
/// whoever has sent one shares no turn any more, until the replica restarts (R3). Nobody can bring another client to
/// that: the link has shown whose frames they are.
#[derive(Default)]
struct Turn {
    /// Each line, the number of its first job, and how many there are of it.
    lines: Vec<(LineId, u64, usize)>,
    jobs: Vec<Job>,
    /// About how many bytes are to be checked.
    bytes: usize,
}

/// How many frames of clients are checked together, at most: beyond a few hundred nothing more is saved, and threads
/// that are in work do not take votes.
pub(super) const TOGETHER: usize = 256;

/// With how many bytes a turn has enough: a few milliseconds of hashing and reading.
const TOGETHER_BYTES: usize = 1 << 20;

/// How many frames of a suspect a thread takes: each may take as long as ten in better company.
const ALONE: usize = 16;

/// Every so many times another row than the most urgent comes first, each in turn.
const OTHERS_TURN: usize = 8;
const SUSPECTS_TURN: usize = 2 * OTHERS_TURN;

/// The rows.
const VOTES: usize = 0;
const BULK: usize = 1;
const CLIENTS: usize = 2;
const SUSPECTS: usize = 3;

impl Rows {
    fn add(&mut self, row: usize, id: LineId) {
        self.rows[row].push_back(id);
    }

    /// Takes the next line: of the most urgent class mostly, of the others often enough that no replica's flood starves
    /// them (R3). Suspects come last.
    fn take(&mut self) -> Option<LineId> {
        self.taken = self.taken.wrapping_add(1);
        let order = match self.taken % (3 * OTHERS_TURN) {
            0 => [BULK, CLIENTS, VOTES, SUSPECTS],
            OTHERS_TURN => [CLIENTS, BULK, VOTES, SUSPECTS],
            SUSPECTS_TURN => [SUSPECTS, CLIENTS, BULK, VOTES],
            _ => [VOTES, BULK, CLIENTS, SUSPECTS],
        };
        order.into_iter().find_map(|row| self.rows[row].pop_front())
    }

    fn are_empty(&self) -> bool {
        self.rows.iter().all(VecDeque::is_empty)
    }

    fn take_client(&mut self) -> Option<LineId> {
        self.rows[CLIENTS].pop_front()
    }
}

impl State {
    fn take_turn(&mut self) -> Option<Turn> {
        let first = self.rows.take()?;
        let mut turn = Turn::default();
        if self.is_suspect(first) {
            self.take_of(first, ALONE, &mut turn);
            return Some(turn);
        }
        self.take_of(first, first.burst(), &mut turn);
        while first.class() == Class::Clients
            && turn.has_room()
            && let Some(id) = self.rows.take_client()
        {
            if self.is_suspect(id) {
                // It has become one in this row.
                self.rows.add(SUSPECTS, id);
            } else {
                self.take_of(id, id.burst(), &mut turn);
            }
        }
        Some(turn)
    }

    fn is_suspect(&self, id: LineId) -> bool {
        match self.lines.get(&id).and_then(Line::front) {
            Some(Job::Client(job)) => self.suspects.contains(&job.frame.client),
            _ => false,
        }
    }

    /// The row that a line belongs in.
    fn row(&self, id: LineId) -> usize {
        match id.class() {
            Class::Votes => VOTES,
            Class::Bulk => BULK,
            Class::Clients if self.is_suspect(id) => SUSPECTS,
            Class::Clients => CLIENTS,
        }
    }

    /// Takes up to so many jobs of a line, as far as the turn has room.
    fn take_of(&mut self, id: LineId, most: usize, turn: &mut Turn) {
        // A line that stands in a row is there until it is idle.
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.listed = false;
        line.threads += 1;
        let mut room = most.min(TOGETHER - turn.jobs.len());
        let (first, jobs) = line.take(|job| {
            let wanted = room > 0 && turn.bytes < TOGETHER_BYTES;
            if wanted {
                room -= 1;
                turn.bytes += job.bytes();
            }
            wanted
        });
        turn.lines.push((id, first, jobs.len()));
        turn.jobs.extend(jobs);
    }
}

impl Turn {
    fn has_room(&self) -> bool {
        self.jobs.len() < TOGETHER && self.bytes < TOGETHER_BYTES
    }
}

impl Pool {
    /// Starts as many threads as there are processors.
    pub(crate) fn start(checker: Checker) -> io::Result<Self> {
        let width = thread::available_parallelism().map_or(2, usize::from).max(2);
        let state = Mutex::default();
        let shared = Arc::new(Shared { checker, width, state, filled: Condvar::new() });
        let threads = (0..width).map(|index| {
            let shared = shared.clone();
            thread::Builder::new().name(format!("pbft-verify-{index}")).spawn(move || shared.work())
        });
        let threads = threads.collect::<io::Result<_>>()?;
        Ok(Self { shared, threads })
    }

    /// The largest frame of this cluster, in bytes.
    pub(super) fn frame_bytes(&self) -> usize {
        self.shared.checker.configuration.parameters().frame_bytes
    }

    /// The largest frame of a client, in bytes.
    pub(super) fn client_frame_bytes(&self) -> usize {
        client_frame_bytes(self.shared.checker.configuration.parameters())
    }

    /// A handle to give jobs with.
    pub(super) fn jobs(&self) -> Jobs {
        Jobs(self.shared.clone())
    }

    /// Ends the threads and waits for them; what waits is dropped.
    pub(crate) fn stop(mut self) {
        self.shared.end();
        for thread in self.threads.drain(..) {
            // Panics while checking are caught where they happen.
            let _ = thread.join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// Where jobs are given. Jobs of one line are checked, and handed over, in the order in which they are given.
#[derive(Clone)]
pub(super) struct Jobs(Arc<Shared>);

impl Jobs {
    /// Adds jobs, each at the end of its line.
    pub(super) fn give(&self, jobs: impl IntoIterator<Item = (LineId, Job)>) {
        let mut state = self.0.state();
        for (id, job) in jobs {
            state.lines.entry(id).or_default().push(job);
            self.0.list(&mut state, id);
        }
        self.0.release(state);
    }

    /// Whether nothing of a line waits or is in work. Whoever alone gives jobs to a line may then check the next one
    /// itself.
    pub(super) fn is_idle(&self, id: LineId) -> bool {
        !self.0.state().lines.contains_key(&id)
    }

    /// The checker that the threads use.
    pub(super) fn checker(&self) -> &Checker {
        &self.0.checker
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics half-way, so a poisoned lock still guards a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.state().stopped = true;
        self.filled.notify_all();
    }

    /// Lets go of the state. If there is something to do in it, a thread that sleeps is woken, which will wake the next.
    fn release(&self, state: MutexGuard<'_, State>) {
        let wakes = state.asleep > 0 && !state.rows.are_empty();
        drop(state);
        if wakes {
            self.filled.notify_one();
        }
    }

    /// Puts a line into its row, if a thread may take something of it and it does not stand there.
    fn list(&self, state: &mut State, id: LineId) {
        let Some(line) = state.lines.get_mut(&id) else { return };
        if line.has_waiting() && !line.listed && line.threads < id.width(self.width) {
            line.listed = true;
            let row = state.row(id);
            state.rows.add(row, id);
        }
    }

    fn work(&self) {
        let mut state = self.state();
        while !state.stopped {
            let Some(Turn { lines, jobs, .. }) = state.take_turn() else {
                state.asleep += 1;
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.asleep -= 1;
                continue;
            };
            lines.iter().for_each(|(id, ..)| self.list(&mut state, *id));
            self.release(state);
            let mut checked = self.check(jobs).into_iter();
            state = self.state();
            for (id, first, count) in lines {
                self.finish(&mut state, id, first, checked.by_ref().take(count).collect());
            }
        }
    }

    /// Checks the jobs of one turn, which are all of clients or none.
    fn check(&self, jobs: Vec<Job>) -> Vec<Checked> {
        let (mut checked, mut of_clients) = (Vec::with_capacity(jobs.len()), Vec::new());
        for job in jobs {
            match job {
                Job::Peer(job) => checked.push(self.checker.check_peer(job)),
                Job::Client(job) => of_clients.push(job),
            }
        }
        checked.extend(self.checker.check_clients(of_clients));
        checked
    }

    /// Hands over what is due. It is done under the lock, or two threads could overtake each other.
    fn finish(&self, state: &mut State, id: LineId, first: u64, checked: Vec<Checked>) {
        let Some(line) = state.lines.get_mut(&id) else { return };
        line.threads -= 1;
        for checked in line.finish(first, checked) {
            state.suspects.extend(checked.forger());
            self.checker.deliver(checked);
        }
        if line.is_idle() {
            state.lines.remove(&id);
        } else {
            self.list(state, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use pbft_messages::{ReplicaId, SessionId};
    use pbft_transport::ConnectionId;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::verify::check::{ClientJob, Frame, PeerJob};
    use crate::verify::submissions::FromClient;

    /// Puts `count` small jobs of a client, or of a replica, into a line.
    fn fill(state: &mut State, id: LineId, count: usize) {
        fill_with(state, id, count, &Bytes::new());
    }

    fn fill_with(state: &mut State, id: LineId, count: usize, bytes: &Bytes) {
        for _ in 0..count {
            let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            let job = match id {
                LineId::Client(connection) => {
                    let client = client_of(connection);
                    let frame = FromClient { client, session: SessionId(1), frame: bytes.clone() };
                    Job::Client(ClientJob { connection, frame, room })
                }
                LineId::Votes(from) | LineId::Bulk(from) => {
                    let frame = Frame::Bytes(bytes.clone());
                    Job::Peer(PeerJob { from, class: id.class(), frame, room })
                }
            };
            state.lines.entry(id).or_default().push(job);
        }
        state.lines.get_mut(&id).unwrap().listed = true;
        let row = state.row(id);
        state.rows.add(row, id);
    }

    fn client_of(connection: ConnectionId) -> ClientId {
        ClientId([connection.to_string().parse().unwrap(); 32])
    }

    /// Of which lines the next turn is, and of how many jobs each.
    fn turn(state: &mut State) -> Vec<(LineId, usize)> {
        let turn = state.take_turn().unwrap();
        assert_eq!(turn.jobs.len(), turn.lines.iter().map(|(.., count)| count).sum::<usize>());
        turn.lines.iter().map(|(id, _, count)| (*id, *count)).collect()
    }

    #[test]
    fn clients_share_a_turn_and_replicas_do_not() {
        let mut state = State::default();
        let client = |number| LineId::Client(ConnectionId::numbered(number));
        let [votes, other] = [1, 2].map(|replica| LineId::Votes(ReplicaId(replica)));
        for (id, count) in [(votes, 2), (client(1), 3), (client(2), 100), (other, 1), (client(3), 1)] {
            fill(&mut state, id, count);
        }
        assert_eq!(turn(&mut state), [(votes, 2)]);
        assert_eq!(turn(&mut state), [(other, 1)]);
        assert_eq!(turn(&mut state), [(client(1), 3), (client(2), 64), (client(3), 1)]);
        for number in 10..20 {
            fill(&mut state, client(number), 60);
        }
        assert_eq!(turn(&mut state).iter().map(|(_, count)| count).sum::<usize>(), TOGETHER);
    }

    /// However large the frames of clients, a turn ends in time.
    #[test]
    fn a_turn_is_bounded_in_bytes() {
        let mut state = State::default();
        let [one, other] = [1, 2].map(|number| LineId::Client(ConnectionId::numbered(number)));
        for id in [one, other] {
            fill_with(&mut state, id, 5, &vec![0; TOGETHER_BYTES / 4].into());
        }
        assert_eq!(turn(&mut state), [(one, 4)]);
        assert_eq!(turn(&mut state), [(other, 4)]);
        fill_with(&mut state, one, 1, &vec![0; 2 * TOGETHER_BYTES].into());
        fill(&mut state, other, 1);
        assert_eq!(turn(&mut state), [(one, 2)]);
        assert_eq!(turn(&mut state), [(other, 2)]);
    }

    /// R3: whoever has sent a bad signature makes no others pay for the next, and cuts no turn of theirs short, however
    /// many connections it has.
    #[test]
    fn a_suspect_shares_no_turn_and_ends_none() {
        let mut state = State::default();
        let [one, suspect, new, other] =
            [1, 2, 3, 4].map(|number| LineId::Client(ConnectionId::numbered(number)));
        state.suspects.insert(client_of(ConnectionId::numbered(2)));
        for id in [suspect, one, new, other] {
            fill(&mut state, id, 20);
        }
        state.suspects.insert(client_of(ConnectionId::numbered(3)));
        assert_eq!(turn(&mut state), [(one, 20), (other, 20)]);
        assert_eq!(turn(&mut state), [(suspect, ALONE)]);
        assert_eq!(turn(&mut state), [(new, ALONE)]);
    }

    /// R3: a suspect waits for its turn, and has one.
    #[test]
    fn suspects_have_a_turn_of_their_own() {
        let mut state = State::default();
        let [suspect, honest] = [1, 2].map(|number| LineId::Client(ConnectionId::numbered(number)));
        state.suspects.insert(client_of(ConnectionId::numbered(1)));
        fill(&mut state, suspect, 1);
        let mut taken = Vec::new();
        for _ in 0..3 * OTHERS_TURN {
            fill(&mut state, honest, 1);
            taken.extend(turn(&mut state));
        }
        let at: Vec<_> = (1..).zip(taken).filter(|(_, (id, _))| *id == suspect).collect();
        assert_eq!(at, [(SUSPECTS_TURN, (suspect, 1))]);
    }

    /// R3: a replica that keeps its vote line full takes most of the threads' time and not all of it.
    #[test]
    fn no_class_starves_another() {
        let [flood, bulk, other] =
            [LineId::Votes(ReplicaId(1)), LineId::Bulk(ReplicaId(2)), LineId::Bulk(ReplicaId(3))];
        let mut rows = Rows::default();
        [bulk, other].into_iter().for_each(|id| rows.add(BULK, id));
        let mut taken = Vec::new();
        for _ in 0..3 * OTHERS_TURN {
            rows.add(VOTES, flood);
            taken.extend(rows.take());
        }
        assert_eq!(taken.iter().filter(|id| **id != flood).count(), 2);
        assert_eq!(taken[..OTHERS_TURN - 1], [flood; OTHERS_TURN - 1]);
    }
}
