//! Where the fields and table entries of an image stand, found by following it from its header.
//!
//! This reads the seeds only, which are whole, and shares nothing with what is tested.

/// A field of an image: where it stands, and how long it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) at: usize,
    pub(super) len: usize,
}

/// The fields, and where the tables lie.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// By kind, so that a kind with few fields is chosen as often as one with many.
    pub(super) kinds: Vec<Vec<Field>>,
    /// Places that entries refer to.
    pub(super) places: Vec<u64>,
}

const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len]
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn words(at: usize, count: usize, len: usize) -> Vec<Field> {
    (0..count)
        .map(|i| Field {
            at: at + i * len,
            len,
        })
        .collect()
}

/// Fields of the lengths `lens`, one after the other from `at` on.
fn run(mut at: usize, lens: &[usize]) -> Vec<Field> {
    let field = |&len: &usize| {
        at += len;
        Field { at: at - len, len }
    };
    lens.iter().map(field).collect()
}

impl Fields {
    /// The fields of the image in `bytes`.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut fields = Self::default();
        let v3 = number(bytes, 4, 4) == 3;
        let mut header = run(0, &[4, 4, 8, 4, 4, 8, 4, 4, 8, 8, 4, 4, 8]);
        if v3 {
            header.extend(run(72, &[8, 8, 8, 4, 4, 1]));
        }
        fields.kinds.push(header);
        let cluster = 1 << number(bytes, 20, 4);
        let extended = v3 && bytes[79] & 0x10 != 0;
        fields.extensions(
            bytes,
            if v3 {
                number(bytes, 100, 4) as usize
            } else {
                72
            },
        );
        fields.name(number(bytes, 8, 8) as usize, number(bytes, 16, 4) as usize);
        let (l1, entries) = (number(bytes, 40, 8) as usize, number(bytes, 36, 4) as usize);
        fields.l1(bytes, l1, entries, cluster, extended);
        fields.refcounts(bytes, number(bytes, 48, 8) as usize, cluster);
        fields.snapshots(bytes, cluster, extended);
        fields.kinds.retain(|kind| !kind.is_empty());
        fields
    }

    fn name(&mut self, at: usize, len: usize) {
        self.kinds.push(words(at, len, 1));
    }

    fn table(&mut self, bytes: &[u8], table: Vec<Field>) {
        let places = table.iter().map(|f| number(bytes, f.at, f.len) & OFFSET);
        self.places.extend(places.filter(|&place| place != 0));
        self.kinds.push(table);
    }

    fn l1(&mut self, bytes: &[u8], at: usize, entries: usize, cluster: usize, extended: bool) {
        self.places.push(at as u64);
        self.table(bytes, words(at, entries, 8));
        for index in 0..entries {
            let l2 = (number(bytes, at + 8 * index, 8) & OFFSET) as usize;
            if l2 != 0 {
                // Only the first clusters of the disk are in use, and those next to them.
                let count = (cluster / 8).min(if extended { 48 } else { 24 });
                self.table(bytes, words(l2, count, 8));
            }
        }
    }

    fn refcounts(&mut self, bytes: &[u8], table: usize, cluster: usize) {
        self.places.push(table as u64);
        self.table(bytes, words(table, (cluster / 8).min(8), 8));
        let block = number(bytes, table, 8) as usize;
        self.kinds.push(words(block, (cluster / 2).min(80), 2));
    }

    fn extensions(&mut self, bytes: &[u8], mut at: usize) {
        let mut frames = Vec::new();
        loop {
            let (kind, len) = (number(bytes, at, 4), number(bytes, at + 4, 4) as usize);
            frames.extend(words(at, 2, 4));
            let data = at + 8;
            match kind {
                0 => break,
                0x2385_2875 => self.bitmaps(bytes, data),
                0x0537_be77 => self.luks(bytes, data),
                _ => self.kinds.push(words(data, len, 1)),
            }
            at = data + len.next_multiple_of(8);
        }
        self.kinds.push(frames);
    }

    fn bitmaps(&mut self, bytes: &[u8], at: usize) {
        self.kinds.push(run(at, &[4, 4, 8, 8]));
        let mut entry = number(bytes, at + 16, 8) as usize;
        self.places.push(entry as u64);
        for _ in 0..number(bytes, at, 4) {
            self.kinds.push(run(entry, &[8, 4, 4, 1, 1, 2, 4]));
            let (table, count) = (number(bytes, entry, 8), number(bytes, entry + 8, 4));
            self.places.push(table);
            self.table(bytes, words(table as usize, count as usize, 8));
            let name = number(bytes, entry + 18, 2) as usize;
            self.name(entry + 24, name);
            entry += (24 + name).next_multiple_of(8);
        }
    }

    fn luks(&mut self, bytes: &[u8], at: usize) {
        self.kinds.push(run(at, &[8, 8]));
        let area = number(bytes, at, 8) as usize;
        self.places.push(area as u64);
        self.kinds.push(run(area, &[6, 2]));
        // Cipher, mode, hash; payload offset and key length; digest, salt, iterations.
        self.kinds.push(words(area + 8, 96, 1));
        self.kinds.push(run(area + 104, &[4, 4, 20, 32, 4]));
        for slot in 0..8 {
            self.kinds
                .push(run(area + 208 + 48 * slot, &[4, 4, 32, 4, 4]));
        }
    }

    fn snapshots(&mut self, bytes: &[u8], cluster: usize, extended: bool) {
        let mut at = number(bytes, 64, 8) as usize;
        self.places.push(at as u64);
        for _ in 0..number(bytes, 60, 4) {
            self.kinds.push(run(at, &[8, 4, 2, 2, 4, 4, 8, 4, 4]));
            let (l1, entries) = (number(bytes, at, 8), number(bytes, at + 8, 4));
            self.l1(bytes, l1 as usize, entries as usize, cluster, extended);
            let (id, name) = (number(bytes, at + 12, 2), number(bytes, at + 14, 2));
            let extra = number(bytes, at + 36, 4) as usize;
            self.kinds.push(words(at + 40, extra / 8, 8));
            at = (at + 40 + extra + (id + name) as usize).next_multiple_of(8);
        }
    }
}
