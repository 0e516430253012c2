use pbft_crypto::mutant;
use pbft_messages::{Configuration, ReplicaId, View};

/// Which view the client believes in: the highest that f+1 replicas have reached, by their own word. At least one
/// of those is correct, so one liar can neither lead the client astray (fault 39) nor hold it back.
#[derive(Debug)]
pub(super) struct BelievedView {
    /// The highest view that each replica reported. A correct replica's views never go down (VC8).
    reported: Vec<Option<View>>,
    believed: View,
}

impl BelievedView {
    pub(super) fn new(n: usize) -> Self {
        Self { reported: vec![None; n], believed: View(0) }
    }

    pub(super) fn get(&self) -> View {
        self.believed
    }

    /// Takes one replica's word for its own view.
    pub(super) fn report(&mut self, replica: ReplicaId, view: View, configuration: &Configuration) {
        let Some(own) = self.reported.get_mut(replica.index()) else { return };
        if own.is_some_and(|known| known >= view) {
            return;
        }
        *own = Some(view);
        let mut reported: Vec<View> = self.reported.iter().flatten().copied().collect();
        reported.sort_unstable_by(|left, right| right.cmp(left));
        // Everyone in the list up to this place has reached the view at this place.
        let enough = if mutant!("one-claim-believed") { 1 } else { configuration.weak_quorum().get() };
        if let Some(view) = reported.get(enough - 1) {
            self.believed = *view;
        }
    }
}
