//! What is scarce, who holds a share in it, and who waits for one.
//!
//! Pure: it does not know nodes beyond their index, nor when anything happens.

use crate::Claim;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// A node that waits, greatest first: by the milliseconds of the longest path from its start to the end of the plan,
/// then by the plan's order.
pub(crate) type Urgency = (u64, Reverse<usize>);

/// All pools that the nodes of a schedule claim.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    /// Which pools each node claims, and how much of each.
    claims: Vec<Vec<(usize, u32)>>,
    free: Vec<u32>,
    /// Who waits for each pool.
    parked: Vec<BinaryHeap<Urgency>>,
}

impl Pools {
    /// The pools that appear in `claims`, which says what each node claims, with these capacities.
    pub(crate) fn new(claims: impl Iterator<Item = Vec<Claim>>, capacities: &BTreeMap<String, u32>) -> Self {
        let mut pools = Self::default();
        let mut by_name = HashMap::new();
        for claims in claims {
            // One share of each pool: what is claimed twice adds up.
            let mut shares: Vec<(usize, u32)> = Vec::new();
            for claim in claims {
                let capacity = capacities.get(&claim.pool).map_or(1, |capacity| (*capacity).max(1));
                let pool = *by_name.entry(claim.pool).or_insert_with(|| pools.add(capacity));
                let weight = claim.weight.max(1);
                match shares.iter_mut().find(|(claimed, _)| *claimed == pool) {
                    Some((_, share)) => *share = share.saturating_add(weight).min(capacity),
                    None => shares.push((pool, weight.min(capacity))),
                }
            }
            pools.claims.push(shares);
        }
        pools
    }

    fn add(&mut self, capacity: u32) -> usize {
        self.free.push(capacity);
        self.parked.push(BinaryHeap::new());
        self.free.len() - 1
    }

    /// Takes all that the node claims, or nothing of it and lets it wait. Returns whether it was taken.
    ///
    /// It does not overtake anybody more urgent who waits for the same pool; else a large claim might wait for ever.
    /// `ready` gets those that need not wait for this node's pools any more.
    pub(crate) fn take_or_park(&mut self, node: Urgency, ready: &mut BinaryHeap<Urgency>) -> bool {
        let claims = &self.claims[node.1.0];
        let lacking = claims.iter().find(|(pool, share)| {
            *share > self.free[*pool] || self.parked[*pool].peek().is_some_and(|first| *first > node)
        });
        let Some(&(lacking, _)) = lacking else {
            claims.iter().for_each(|(pool, share)| self.free[*pool] -= share);
            return true;
        };
        self.parked[lacking].push(node);
        self.wake(node.1.0, Some(lacking), ready);
        false
    }

    /// Gives back what the node has taken. `ready` gets those that waited for it and now fit.
    pub(crate) fn give_back(&mut self, node: usize, ready: &mut BinaryHeap<Urgency>) {
        for (pool, share) in &self.claims[node] {
            self.free[*pool] += share;
        }
        self.wake(node, None, ready);
    }

    /// Moves those that now fit into a pool that `node` claims, the most urgent first, to `ready`, which tries again.
    fn wake(&mut self, node: usize, except: Option<usize>, ready: &mut BinaryHeap<Urgency>) {
        for &(pool, _) in self.claims[node].iter().filter(|(pool, _)| Some(*pool) != except) {
            let mut room = self.free[pool];
            while let Some(first) = self.parked[pool].peek() {
                let claims = &self.claims[first.1.0];
                let share =
                    claims.iter().find(|(claimed, _)| *claimed == pool).map_or(0, |(_, share)| *share);
                if share > room {
                    break;
                }
                room -= share;
                ready.extend(self.parked[pool].pop());
            }
        }
    }
}
