//! What is going to happen, in the order in which it does: by time, then by a draw, then by age.
//!
//! A heap moves its entries about all the time, and an event is five times as long as what decides its turn: so events lie still, each in
//! a slot of its own, and the heap knows which.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Events of one kind and their turns.
pub struct Agenda<E> {
    turns: BinaryHeap<Reverse<Turn>>,
    slots: Vec<Option<E>>,
    free: Vec<usize>,
    scheduled: u64,
}

/// Fields in the order in which they decide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    at: Duration,
    tie: u32,
    number: u64,
    slot: usize,
}

/// An event whose turn has come.
pub struct Due<E> {
    /// When it happens.
    pub at: Duration,
    /// How many had been scheduled when it was, itself among them.
    pub number: u64,
    /// What happens.
    pub event: E,
}

impl<E> Default for Agenda<E> {
    fn default() -> Agenda<E> {
        Agenda { turns: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), scheduled: 0 }
    }
}

impl<E> Agenda<E> {
    /// Puts an event down; of those at the same time the one with the lower `tie` is first.
    pub fn schedule(&mut self, at: Duration, tie: u32, event: E) {
        self.scheduled += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(event);
        self.turns.push(Reverse(Turn { at, tie, number: self.scheduled, slot }));
    }

    /// Takes the next event, unless it is later than `end`.
    pub fn next(&mut self, end: Duration) -> Option<Due<E>> {
        if self.turns.peek().is_none_or(|Reverse(turn)| turn.at > end) {
            return None;
        }
        let Reverse(Turn { at, number, slot, .. }) = self.turns.pop()?;
        self.free.push(slot);
        Some(Due { at, number, event: self.slots[slot].take()? })
    }

    /// How many events are going to happen at such times.
    #[cfg(test)]
    pub(crate) fn count(&self, at: impl Fn(Duration) -> bool) -> usize {
        self.turns.iter().filter(|Reverse(turn)| at(turn.at)).count()
    }

    /// Has those events happen at `to` that are `put_off`, as far as they would happen later; among themselves in the order that they have.
    pub(crate) fn hasten(&mut self, to: Duration, put_off: impl Fn(Duration, &E) -> bool) {
        let Agenda { turns, slots, .. } = self;
        let is_due =
            |turn: &Turn| turn.at > to && slots[turn.slot].as_ref().is_some_and(|event| put_off(turn.at, event));
        let hastened =
            |Reverse(turn): Reverse<Turn>| Reverse(if is_due(&turn) { Turn { at: to, ..turn } } else { turn });
        *turns = std::mem::take(turns).into_iter().map(hastened).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_by_tie_then_by_age_and_none_before_its_time() {
        let mut agenda = Agenda::default();
        let at = Duration::from_secs;
        for (seconds, tie, event) in [(3, 0, 'e'), (1, 7, 'b'), (2, 5, 'c'), (2, 5, 'd'), (1, 2, 'a'), (9, 0, 'f')] {
            agenda.schedule(at(seconds), tie, event);
        }
        let take = |agenda: &mut Agenda<char>, end| -> Vec<(u64, char)> {
            std::iter::from_fn(|| agenda.next(at(end))).map(|due| (due.number, due.event)).collect()
        };
        assert_eq!(take(&mut agenda, 2), [(5, 'a'), (2, 'b'), (3, 'c'), (4, 'd')]);
        agenda.schedule(at(4), 0, 'g');
        assert_eq!(take(&mut agenda, 8), [(1, 'e'), (7, 'g')]);
        agenda.schedule(at(20), 1, 'h');
        agenda.hasten(at(7), |at, event| at.as_secs() == 20 || *event == 'f');
        assert_eq!(take(&mut agenda, 8), [(6, 'f'), (8, 'h')]);
        agenda.schedule(at(9), 1, 'i');
        agenda.hasten(at(10), |_, _| true);
        assert_eq!(take(&mut agenda, 9), [(9, 'i')], "nothing is put off by it");
        assert_eq!(agenda.slots.len(), 6, "slots are used again");
    }
}
