//! Which blocks were decoded from which page of the arena.

use super::block::BlockId;

/// A list of blocks for each page that has had any.
#[derive(Debug, Default)]
pub(super) struct PageLists {
    /// For each page of the arena 0, or 1 + its place in `lists`.
    places: Vec<u32>,
    lists: Vec<(u64, Vec<BlockId>)>,
}

impl PageLists {
    /// Enters a block in the list of `page`, which is one of `pages`.
    pub(super) fn add(&mut self, page: u64, id: BlockId, pages: u64) {
        if self.places.is_empty() {
            // Zeros from the host, of which only those that are used take memory.
            self.places = vec![0; pages as usize];
        }
        let place = &mut self.places[page as usize];
        if *place == 0 {
            self.lists.push((page, Vec::new()));
            *place = self.lists.len() as u32;
        }
        self.lists[*place as usize - 1].1.push(id);
    }

    /// The blocks of a page.
    pub(super) fn of(&mut self, page: u64) -> Option<&mut Vec<BlockId>> {
        let place = *self.places.get(page as usize)?;
        let (_, blocks) = self.lists.get_mut((place as usize).checked_sub(1)?)?;
        Some(blocks)
    }

    /// Strikes a block from the list of `page`.
    pub(super) fn remove(&mut self, page: u64, id: BlockId) {
        if let Some(blocks) = self.of(page) {
            blocks.retain(|&other| other != id);
        }
    }

    /// Empties all lists; gives the pages that had one.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u64> + use<'_> {
        let places = &mut self.places;
        self.lists.drain(..).map(|(page, _)| {
            places[page as usize] = 0;
            page
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_blocks_that_were_entered_and_not_struck() {
        let mut lists = PageLists::default();
        assert!(lists.of(7).is_none());
        for (page, id) in [(7, 1), (9, 2), (7, 3)] {
            lists.add(page, id, 10);
        }
        lists.remove(7, 1);
        lists.remove(8, 3);
        assert_eq!(lists.of(7), Some(&mut vec![3]));
        assert_eq!(lists.of(8), None);
        assert_eq!(lists.drain().collect::<Vec<_>>(), [7, 9]);
        assert_eq!(lists.of(9), None);
    }
}
