//! Adding and erasing the keys of a LUKS header.
//!
//! A key that is added is there as a whole or not at all, whatever the power does:
//!
//! ```text
//!   key material, salt and iterations │ active
//! ```
//!
//! A key that is erased is gone from the disk before its slot says so: the key material is
//! overwritten first, as the specification has it ("key revocation"). A slot that stays active over
//! lost key material opens to no password, and erasing it again finishes the work. Overwriting
//! reaches what the host keeps at that place of the file; copies that file systems or disks make by
//! themselves are out of reach. LUKS1 On-Disk Format Specification 1.2.3, sections 4 and 5.

use std::time::Duration;

use zeroize::Zeroizing;

use super::super::fields::zeroed;
use super::super::{ErrorKind, ImageError, Result, Secret};
use super::luks::{
    ACTIVE, AT_SLOTS, INACTIVE, KeySlot, Luks, MasterKey, SALT, SLOT, SLOTS, SlotKey, bounded,
    counted, material_bytes, random, random_salt,
};
use crate::storage::{Durability, Storage};

/// A change of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    /// Another password opens the image too.
    Add {
        /// The password.
        secret: Secret,
        /// How long deriving a key from it takes.
        iteration_time: Duration,
        /// The slot, by default the first that is free.
        slot: Option<usize>,
    },
    /// The key in this slot is destroyed; with a password, only if that opens it.
    EraseSlot(usize, Option<Secret>),
    /// All keys under this password are destroyed.
    EraseMatching(Secret),
}

/// Whether a change may destroy a key that is in use, or the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Caution {
    /// It may not.
    #[default]
    Kept,
    /// It may.
    Waived,
}

impl Luks {
    /// Changes the keys in `storage`, where this header was read from; `secret` opens it now. What
    /// changes is durable on return.
    ///
    /// Errors: [`ErrorKind::Password`] for a wrong password; [`ErrorKind::Invalid`] for a slot that
    /// does not exist, is not what the change needs, or is the last with a key.
    pub fn change(
        &mut self,
        storage: &dyn Storage,
        secret: &Secret,
        change: &KeyChange,
        caution: Caution,
    ) -> Result<()> {
        let master = self.unlock(storage, secret)?;
        match change {
            KeyChange::Add {
                secret,
                iteration_time,
                slot,
            } => {
                let index = self.slot_to_fill(*slot, caution)?;
                let iterations = bounded(counted(self.hash, *iteration_time, &self.spec));
                self.fill(storage, index, (&master, secret, iterations))
            }
            KeyChange::EraseSlot(index, secret) => {
                self.check_slot_to_erase(storage, *index, secret.as_ref(), caution)?;
                self.erase(storage, *index)
            }
            KeyChange::EraseMatching(secret) => {
                for index in self.slots_to_erase(storage, secret, caution)? {
                    self.erase(storage, index)?;
                }
                Ok(())
            }
        }
    }

    fn slot(&self, index: usize) -> Result<&KeySlot> {
        self.slots.get(index).ok_or_else(|| {
            invalid(format!(
                "Invalid keyslot {index} specified, must be between 0 and {}",
                SLOTS - 1
            ))
        })
    }

    fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(|slot| slot.key.is_none())
    }

    fn active_slots(&self) -> usize {
        let active = self.slots.iter().filter(|slot| slot.key.is_some());
        active.count()
    }

    fn slot_to_fill(&self, wanted: Option<usize>, caution: Caution) -> Result<usize> {
        let Some(index) = wanted else {
            let full = || invalid("Can't add a keyslot - all keyslots are in use".to_owned());
            return self.free_slot().ok_or_else(full);
        };
        if self.slot(index)?.key.is_some() && caution == Caution::Kept {
            return Err(invalid(format!(
                "Refusing to overwrite active keyslot {index} - please erase it first"
            )));
        }
        Ok(index)
    }

    fn check_slot_to_erase(
        &self,
        storage: &dyn Storage,
        index: usize,
        secret: Option<&Secret>,
        caution: Caution,
    ) -> Result<()> {
        let slot = self.slot(index)?;
        if let Some(secret) = secret
            && self.open_slot(slot, storage, secret)?.is_none()
        {
            return Err(invalid(format!(
                "Given keyslot {index} doesn't contain the given old password for erase operation"
            )));
        }
        if caution == Caution::Waived {
            return Ok(());
        }
        if slot.key.is_none() {
            return Err(invalid(format!(
                "Given keyslot {index} is already erased (inactive) "
            )));
        }
        match self.active_slots() {
            1 => Err(invalid(format!(
                "Attempt to erase the only active keyslot {index} which will erase all the data in \
                 the image irreversibly - refusing operation"
            ))),
            _ => Ok(()),
        }
    }

    fn slots_to_erase(
        &self,
        storage: &dyn Storage,
        secret: &Secret,
        caution: Caution,
    ) -> Result<Vec<usize>> {
        let mut found = Vec::new();
        for (index, slot) in self.slots.iter().enumerate() {
            if self.open_slot(slot, storage, secret)?.is_some() {
                found.push(index);
            }
        }
        if found.is_empty() {
            return Err(invalid(
                "No keyslots match given (old) password for erase operation".to_owned(),
            ));
        }
        if found.len() == self.active_slots() && caution == Caution::Kept {
            return Err(invalid(
                "All the active keyslots match the (old) password that was given and erasing them \
                 will erase all the data in the image irreversibly - refusing operation"
                    .to_owned(),
            ));
        }
        Ok(found)
    }

    /// Puts the master key under a password into slot `index`. One that is in use is filled by way
    /// of a spare one, so that at any time some slot has the key.
    fn fill(
        &mut self,
        storage: &dyn Storage,
        index: usize,
        (master, secret, iterations): (&MasterKey, &Secret, u32),
    ) -> Result<()> {
        let spare = self.free_slot().filter(|_| {
            let slot = self.slots.get(index);
            slot.is_some_and(|slot| slot.key.is_some())
        });
        let Some(spare) = spare else {
            return self.fill_slot(storage, index, (master, secret, iterations));
        };
        self.fill_slot(storage, spare, (master, secret, iterations))?;
        self.erase(storage, index)?;
        self.fill_slot(storage, index, (master, secret, iterations))?;
        self.erase(storage, spare)
    }

    fn fill_slot(
        &mut self,
        storage: &dyn Storage,
        index: usize,
        (master, secret, iterations): (&MasterKey, &Secret, u32),
    ) -> Result<()> {
        let key = SlotKey {
            iterations,
            salt: random_salt()?,
        };
        let material = self.material(&key, master, secret)?;
        let place = self.area().start + self.slot(index)?.offset();
        self.write_state(storage, index, INACTIVE)?;
        let mut fields = iterations.to_be_bytes().to_vec();
        fields.extend(key.salt);
        self.write_header(storage, self.at_slot(index) + 4, &fields)?;
        self.write_material(storage, place, &material)?;
        self.write_state(storage, index, ACTIVE)?;
        self.set_key(index, Some(key));
        Ok(())
    }

    /// Overwrites the key material of slot `index`, then says that it has no key.
    fn erase(&mut self, storage: &dyn Storage, index: usize) -> Result<()> {
        let place = self.area().start + self.slot(index)?.offset();
        let mut noise = Zeroizing::new(zeroed(material_bytes(&self.spec)));
        random(&mut noise)?;
        self.write_material(storage, place, &noise)?;
        self.write_state(storage, index, INACTIVE)?;
        self.write_header(storage, self.at_slot(index) + 4, &[0; 4 + SALT])?;
        self.set_key(index, None);
        flush(storage)
    }

    fn set_key(&mut self, index: usize, key: Option<SlotKey>) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.key = key;
        }
    }

    /// Where the entry of a slot stands in the file.
    fn at_slot(&self, index: usize) -> u64 {
        self.area().start + AT_SLOTS + index as u64 * SLOT
    }

    /// Writes the state of a slot, one word inside a sector, before whatever is written next.
    fn write_state(&self, storage: &dyn Storage, index: usize, state: u32) -> Result<()> {
        self.write_header(storage, self.at_slot(index), &state.to_be_bytes())?;
        flush(storage)
    }

    fn write_header(&self, storage: &dyn Storage, at: u64, bytes: &[u8]) -> Result<()> {
        let done = storage.write_at(bytes, at);
        done.map_err(|e| ImageError::io("write the LUKS header", e).at(at))
    }

    /// Writes key material before whatever is written next.
    fn write_material(&self, storage: &dyn Storage, at: u64, bytes: &[u8]) -> Result<()> {
        let done = storage.write_at(bytes, at);
        done.map_err(|e| ImageError::io("write key material", e).at(at))?;
        flush(storage)
    }
}

fn flush(storage: &dyn Storage) -> Result<()> {
    let done = storage.flush(Durability::Data);
    done.map_err(|e| ImageError::io("flush the LUKS header", e))
}

fn invalid(detail: String) -> ImageError {
    ImageError::new(ErrorKind::Invalid, detail)
}

#[cfg(test)]
mod tests {
    use super::super::luks::Area;
    use super::super::options::LuksOptions;
    use super::*;
    use crate::storage::record::Event;
    use crate::storage::{MemoryStorage, RecordingStorage};

    const FIRST: &str = "first";
    const SECOND: &str = "second";

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    fn add(text: &str, slot: Option<usize>) -> KeyChange {
        KeyChange::Add {
            secret: secret(text),
            iteration_time: Duration::ZERO,
            slot,
        }
    }

    fn new_header() -> Vec<u8> {
        let options = LuksOptions {
            iteration_time: Duration::ZERO,
            ..LuksOptions::new(secret(FIRST))
        };
        Luks::format(&options).unwrap().0
    }

    fn read(storage: &dyn Storage) -> Luks {
        let len = storage.len().unwrap();
        Luks::read(storage, Area { start: 0, len }).unwrap()
    }

    fn change(storage: &dyn Storage, with: &str, change: &KeyChange, how: Caution) -> Result<()> {
        read(storage).change(storage, &secret(with), change, how)
    }

    fn opens(storage: &dyn Storage, with: &str) -> bool {
        read(storage).unlock(storage, &secret(with)).is_ok()
    }

    #[test]
    fn a_key_that_is_added_opens_the_image_until_it_is_erased() {
        let storage = MemoryStorage::new(new_header());
        change(&storage, FIRST, &add(SECOND, Some(6)), Caution::Kept).unwrap();
        assert!(opens(&storage, FIRST) && opens(&storage, SECOND));
        let slot = read(&storage).slots[6];
        let mut material = vec![0; 256_000];
        storage.read_at(&mut material, slot.offset()).unwrap();
        let erase = KeyChange::EraseMatching(secret(SECOND));
        change(&storage, FIRST, &erase, Caution::Kept).unwrap();
        assert!(opens(&storage, FIRST) && !opens(&storage, SECOND));
        let mut left = vec![0; 256_000];
        storage.read_at(&mut left, slot.offset()).unwrap();
        let same = left.iter().zip(&material).filter(|(a, b)| a == b).count();
        assert!(same < 2000, "{same} of 256000 bytes are what they were");
    }

    #[test]
    fn what_would_lose_a_key_by_mistake_is_refused() {
        let storage = MemoryStorage::new(new_header());
        let refused = |what: &KeyChange, said: &str| {
            let error = change(&storage, FIRST, what, Caution::Kept).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        };
        refused(&KeyChange::EraseSlot(0, None), "only active keyslot 0");
        refused(&KeyChange::EraseSlot(1, None), "already erased");
        refused(&KeyChange::EraseSlot(8, None), "between 0 and 7");
        let wrong = KeyChange::EraseSlot(0, Some(secret(SECOND)));
        refused(&wrong, "doesn't contain");
        let matching = |text| KeyChange::EraseMatching(secret(text));
        refused(&matching(FIRST), "All the active keyslots");
        refused(&matching(SECOND), "No keyslots match");
        refused(&add(SECOND, Some(0)), "overwrite active keyslot 0");
        let wrong = change(&storage, SECOND, &add(SECOND, None), Caution::Kept);
        assert_eq!(wrong.unwrap_err().kind(), ErrorKind::Password);
        for _ in 1..SLOTS {
            change(&storage, FIRST, &add(SECOND, None), Caution::Kept).unwrap();
        }
        refused(&add(SECOND, None), "all keyslots are in use");
        let last = change(&storage, FIRST, &matching(SECOND), Caution::Kept);
        last.unwrap();
        let last = KeyChange::EraseSlot(0, None);
        change(&storage, FIRST, &last, Caution::Waived).unwrap();
        assert!(!opens(&storage, FIRST));
    }

    /// The next of some numbers, from 0 to 9.
    fn digit(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (*state >> 33) % 10
    }

    /// Writes some of the sectors of `pending` into a copy of `durable`.
    fn cut(durable: &[u8], pending: &[(u64, Vec<u8>)], random: &mut u64) -> Vec<u8> {
        let mut state = durable.to_vec();
        let kept = digit(random);
        for (at, bytes) in pending {
            for (byte, index) in bytes.iter().zip(usize::try_from(*at).unwrap()..) {
                // Sectors are written as a whole or not at all.
                let sector = (index / 512) as u64;
                if (sector.wrapping_mul(0x9e37_79b9) ^ *random) % 10 < kept {
                    state[index] = *byte;
                }
            }
        }
        state
    }

    #[test]
    fn a_power_cut_leaves_each_key_as_it_was_or_as_it_becomes() {
        let full = MemoryStorage::new(new_header());
        change(&full, FIRST, &add(SECOND, None), Caution::Kept).unwrap();
        let (one, two) = (new_header(), full.to_vec());
        // What is there, what becomes of it, and which passwords open every state: one of each.
        let cases: [(&[u8], KeyChange, &[&str]); 5] = [
            (&one, add(SECOND, None), &[FIRST]),
            (&one, add(SECOND, Some(6)), &[FIRST]),
            (&two, KeyChange::EraseSlot(1, None), &[FIRST]),
            (&two, KeyChange::EraseMatching(secret(SECOND)), &[FIRST]),
            (&one, add(SECOND, Some(0)), &[FIRST, SECOND]),
        ];
        let mut random = 7;
        let mut states = 0;
        for (start, what, passwords) in cases {
            let storage = RecordingStorage::new(start.to_vec());
            change(&storage, FIRST, &what, Caution::Waived).unwrap();
            let (mut durable, mut pending) = (start.to_vec(), Vec::new());
            for event in storage.events() {
                match event.1 {
                    Event::Write(at, bytes) => pending.push((at, bytes)),
                    _ => {
                        for _ in 0..4 {
                            let state = MemoryStorage::new(cut(&durable, &pending, &mut random));
                            let open = passwords.iter().any(|with| opens(&state, with));
                            assert!(open, "no password opens state {states} of {what:?}");
                            states += 1;
                        }
                        for (at, bytes) in pending.drain(..) {
                            let at = usize::try_from(at).unwrap();
                            durable[at..at + bytes.len()].copy_from_slice(&bytes);
                        }
                    }
                }
            }
            assert!(pending.is_empty(), "a change is durable on return");
        }
        println!("{states} states after a power cut, none without its key");
    }
}
