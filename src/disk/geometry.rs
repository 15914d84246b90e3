//! Cylinders, heads and sectors, for guests that still count in them.
//! (ATA/ATAPI-5, annex "Identify device data for devices with more than 1024 cylinders".)

use serde::{Deserialize, Serialize};

/// Sectors per track of a default geometry.
const SECTORS: u8 = 63;
/// Heads of a default geometry.
const HEADS: u8 = 16;
/// The most cylinders that IDENTIFY DEVICE may report; larger disks are reached by LBA only.
const MOST_CYLINDERS: u16 = 16383;

/// A translation between sector numbers and cylinder, head, sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Geometry {
    /// Cylinders, from 0.
    pub cylinders: u16,
    /// Heads, from 0; 1 to 16.
    pub heads: u8,
    /// Sectors per track, counted from 1; 1 to 255.
    pub sectors: u8,
}

impl Geometry {
    /// The default translation of a disk with `capacity` sectors.
    pub fn of_capacity(capacity: u64) -> Self {
        let cylinders = capacity / (u64::from(HEADS) * u64::from(SECTORS));
        Self {
            cylinders: u16::try_from(cylinders)
                .unwrap_or(MOST_CYLINDERS)
                .clamp(1, MOST_CYLINDERS),
            heads: HEADS,
            sectors: SECTORS,
        }
    }

    /// How many sectors the translation reaches.
    pub fn reach(self) -> u64 {
        u64::from(self.cylinders) * self.sectors_per_cylinder()
    }

    /// The same heads and sectors for a disk of `capacity` sectors.
    pub fn fitted(self, capacity: u64) -> Self {
        let cylinders = capacity / self.sectors_per_cylinder().max(1);
        let cylinders = u16::try_from(cylinders).unwrap_or(u16::MAX);
        Self { cylinders, ..self }
    }

    /// The sector number of a place, or `None` outside the translation.
    pub fn to_lba(self, cylinder: u16, head: u8, sector: u8) -> Option<u64> {
        let inside = head < self.heads && (1..=self.sectors).contains(&sector);
        let track = u64::from(cylinder) * u64::from(self.heads) + u64::from(head);
        inside.then(|| track * u64::from(self.sectors) + u64::from(sector) - 1)
    }

    /// The cylinder, head and sector of a sector number; `None` past the last cylinder a
    /// register can hold.
    pub fn to_chs(self, lba: u64) -> Option<(u16, u8, u8)> {
        let sectors = u64::from(self.sectors.max(1));
        let heads = u64::from(self.heads.max(1));
        let cylinder = u16::try_from(lba / sectors / heads).ok()?;
        let head = u8::try_from(lba / sectors % heads).ok()?;
        let sector = u8::try_from(lba % sectors + 1).ok()?;
        Some((cylinder, head, sector))
    }

    fn sectors_per_cylinder(self) -> u64 {
        u64::from(self.heads) * u64::from(self.sectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_translation_has_the_sector_number_it_came_from() {
        let geometry = Geometry::of_capacity(204_800);
        assert_eq!(geometry.cylinders, 203);
        for lba in [0, 62, 63, 1007, 1008, 204_623] {
            let (c, h, s) = geometry.to_chs(lba).unwrap();
            assert_eq!(geometry.to_lba(c, h, s), Some(lba));
        }
        assert_eq!(geometry.to_lba(0, 0, 0), None);
        assert_eq!(geometry.to_lba(0, 16, 1), None);
    }

    #[test]
    fn a_large_disk_shows_16383_cylinders_and_a_tiny_one_a_single_cylinder() {
        assert_eq!(Geometry::of_capacity(1 << 40).cylinders, 16383);
        assert_eq!(Geometry::of_capacity(3).cylinders, 1);
    }
}
