//! Switches that break the order of writes, one for each rule of crash consistency, to prove that
//! the oracle sees it.
//!
//! A switch leaves writes of one kind out of what one barrier makes durable, as code would that
//! wrote them too late. Everything else keeps its order.

use super::super::header::{AT_AUTOCLEAR, AT_INCOMPATIBLE, AT_L1, AT_REFCOUNT_TABLE};
use super::case::{Case, Variant, branching, cases, compacting, growing, maintained, resizing};
use super::cut::Pending;
use super::files::{BELOW, IMAGE};
use super::workload::Op;
use crate::storage::record::Event;

/// A rule that is broken.
pub(super) struct Switch {
    /// The rule.
    pub(super) rule: &'static str,
    /// The operations in which it is broken.
    during: fn(&Op) -> bool,
    /// The barriers that let something pass; all, if there are none.
    barriers: &'static [&'static str],
    /// What they let pass.
    pub(super) late: fn(&Pending) -> bool,
    /// Where it is looked for.
    pub(super) cases: fn() -> Vec<Case>,
    /// What the oracle says about it: it has one of these in it.
    pub(super) seen: &'static [&'static str],
}

/// Something is in use that counts as free.
const UNCOUNTED: &str = "refcount=0 reference=1";
/// The same, of what seems to have one reference.
const FREE_BUT_COPIED: &str = "which has refcount 0";
/// Two references to what is counted once.
const COUNTED_ONCE: &str = "refcount=1 reference=2";
/// The guest would change in place what a snapshot has too.
const SHARED_BUT_COPIED: &str = "which has refcount 2";
/// The host may take what is in use.
const FREED_IN_USE: &str = "is freed on the host";
/// The guest sees what it has not written there.
const OTHER_DATA: &str = "sector ";

impl Switch {
    /// Whether it changes what a barrier of the reason `why` does in `op`.
    pub(super) fn concerns(&self, op: &Op, why: &str) -> bool {
        (self.during)(op) && (self.barriers.is_empty() || self.barriers.contains(&why))
    }

    /// Whether it is about what the host may free; if not, that is not looked at.
    pub(super) fn is_about_punching(&self) -> bool {
        self.seen.contains(&FREED_IN_USE)
    }
}

fn any(_: &Op) -> bool {
    true
}

fn ordinary() -> Vec<Case> {
    cases().to_vec()
}

fn is_maintenance(op: &Op, names: &[&str]) -> bool {
    matches!(op, Op::Maintain(name) if names.contains(name))
}

fn is_snapshot(op: &Op) -> bool {
    matches!(op, Op::Snapshot(_) | Op::Apply(_) | Op::Delete(_))
}

fn is_apply_or_delete(op: &Op) -> bool {
    matches!(op, Op::Apply(_) | Op::Delete(_))
}

fn is_growth(op: &Op) -> bool {
    matches!(op, Op::Resize(from, to) if from < to)
}

/// The ordinary cases of one kind of image.
fn of(format: Variant) -> Vec<Case> {
    let mut cases = ordinary();
    cases.retain(|case| case.format == format);
    cases
}

fn is_mapping(write: &Pending) -> bool {
    matches!(&*write.what, "an L2 table" | "the L1 table")
}

fn is_guest_data(write: &Pending) -> bool {
    matches!(
        &*write.what,
        "guest data" | "zeros" | "a compressed cluster"
    )
}

/// One or more for each rule.
pub(super) fn switches() -> Vec<Switch> {
    let mut all = mapping();
    all.extend(tables());
    all.extend(snapshots());
    all.extend(marks());
    all.extend(lengths());
    all.extend(whole_images());
    all
}

fn mapping() -> Vec<Switch> {
    vec![
        Switch {
            rule: "1: a refcount is raised before the reference",
            during: any,
            barriers: &["ClusterBeforeReference"],
            late: |write| write.what == "a refcount block",
            cases: ordinary,
            seen: &[UNCOUNTED],
        },
        Switch {
            rule: "1, lazy: the dirty bit before the first change",
            during: any,
            barriers: &["FlagBeforeChange", "ClusterBeforeReference"],
            late: |write| matches!(write.event, Event::Write(AT_INCOMPATIBLE, _)),
            cases: || of(Variant::LazyRefcounts),
            seen: &[UNCOUNTED],
        },
        Switch {
            rule: "1, lazy: refcounts before the dirty bit is taken away",
            during: any,
            barriers: &["ChangesBeforeFlag"],
            late: |write| write.what == "a refcount block",
            cases: || of(Variant::LazyRefcounts),
            seen: &[UNCOUNTED],
        },
        Switch {
            rule: "2: data before its mapping",
            during: any,
            barriers: &["ClusterBeforeReference"],
            late: is_guest_data,
            cases: ordinary,
            seen: &[OTHER_DATA, "is not a valid zlib stream"],
        },
        Switch {
            rule: "3: an entry is cleared before the refcount is lowered",
            during: any,
            barriers: &["ClearedBeforeReuse"],
            late: is_mapping,
            cases: ordinary,
            seen: &[UNCOUNTED, COUNTED_ONCE],
        },
        Switch {
            rule: "4: a new L2 table before its L1 entry",
            during: any,
            barriers: &["ClusterBeforeReference"],
            late: |write| write.what == "an L2 table",
            cases: branching,
            seen: &[OTHER_DATA],
        },
    ]
}

fn tables() -> Vec<Switch> {
    vec![
        Switch {
            rule: "5: a longer L1 table before the header",
            during: is_growth,
            barriers: &["TableBeforeHeader"],
            late: |write| write.what == "the L1 table",
            cases: resizing,
            seen: &[OTHER_DATA],
        },
        Switch {
            rule: "5: the header before the old L1 table is freed",
            during: is_growth,
            barriers: &["HeaderBeforeRelease", "ClearedBeforeReuse"],
            late: |write| matches!(write.event, Event::Write(AT_L1, _)),
            cases: resizing,
            seen: &[UNCOUNTED],
        },
        Switch {
            rule: "6: a refcount block before its table entry",
            during: any,
            barriers: &["BlockBeforeTable"],
            late: |write| write.what == "a refcount block",
            cases: || vec![growing()],
            seen: &[UNCOUNTED],
        },
        Switch {
            rule: "6: a refcount table before the header",
            during: any,
            barriers: &["TableBeforeHeader"],
            late: |write| write.what == "the refcount table",
            cases: || vec![growing()],
            seen: &[UNCOUNTED, FREE_BUT_COPIED],
        },
        Switch {
            rule: "6: the header before the old refcount table is freed",
            during: any,
            barriers: &["HeaderBeforeRelease"],
            late: |write| matches!(write.event, Event::Write(AT_REFCOUNT_TABLE, _)),
            cases: || vec![growing()],
            seen: &[UNCOUNTED, FREE_BUT_COPIED],
        },
    ]
}

fn snapshots() -> Vec<Switch> {
    vec![
        Switch {
            rule: "7: COPIED flags are cleared before a refcount is 2",
            during: is_snapshot,
            barriers: &["FlagsBeforeSharing"],
            late: is_mapping,
            cases: branching,
            seen: &[SHARED_BUT_COPIED],
        },
        Switch {
            rule: "7: a snapshot table before the header",
            during: is_snapshot,
            barriers: &["TableBeforeHeader"],
            late: |write| write.what == "the snapshot table",
            cases: branching,
            seen: &["is gone", "snapshots: ", "snapshot table entry"],
        },
        Switch {
            rule: "7: refcounts of a snapshot before the header",
            during: is_snapshot,
            barriers: &["TableBeforeHeader"],
            late: |write| write.what == "a refcount block",
            cases: branching,
            seen: &[COUNTED_ONCE],
        },
        Switch {
            rule: "7: the header before a tree is given up",
            during: is_apply_or_delete,
            barriers: &["HeaderBeforeRelease"],
            late: |write| write.what == "the header",
            cases: branching,
            seen: &[UNCOUNTED, COUNTED_ONCE],
        },
        Switch {
            rule: "7: a refcount is back at 1 before COPIED is set",
            during: is_apply_or_delete,
            barriers: &["LoweredBeforeUse"],
            late: |write| write.what == "a refcount block",
            cases: branching,
            seen: &[SHARED_BUT_COPIED],
        },
    ]
}

fn marks() -> Vec<Switch> {
    vec![
        Switch {
            rule: "8: a bitmap is in use before the first change",
            during: any,
            barriers: &["FlagBeforeChange"],
            late: |write| write.what == "the bitmap directory",
            cases: || of(Variant::Bitmap),
            seen: &["misses the change of sector"],
        },
        Switch {
            rule: "8: the autoclear bit is cleared before the first change",
            during: any,
            barriers: &["FlagBeforeChange"],
            late: |write| matches!(write.event, Event::Write(AT_AUTOCLEAR, _)),
            cases: || of(Variant::Plain),
            seen: &[OTHER_DATA],
        },
        Switch {
            rule: "8: bits before their bitmap is not in use",
            during: any,
            barriers: &["ChangesBeforeFlag"],
            late: |write| matches!(&*write.what, "a bitmap" | "a bitmap table"),
            cases: || of(Variant::Bitmap),
            seen: &["misses the change of sector"],
        },
        Switch {
            rule: "13: a guest's flush makes everything durable",
            during: |op| matches!(op, Op::Flush),
            barriers: &["GuestFlush", "ClearedBeforeReuse"],
            late: |_| true,
            cases: ordinary,
            seen: &[OTHER_DATA],
        },
    ]
}

fn lengths() -> Vec<Switch> {
    vec![
        Switch {
            rule: "11, grow: zeros before the size",
            during: is_growth,
            barriers: &["GuestFlush", "ChangesBeforeFlag", "ClearedBeforeReuse"],
            late: |write| is_mapping(write) || is_guest_data(write),
            cases: resizing,
            seen: &[OTHER_DATA],
        },
        Switch {
            rule: "11, shrink: the size before the mappings",
            during: |op| matches!(op, Op::Resize(from, to) if from > to),
            barriers: &["HeaderBeforeRelease"],
            late: |write| write.what == "the header",
            cases: resizing,
            seen: &[OTHER_DATA],
        },
    ]
}

fn whole_images() -> Vec<Switch> {
    vec![
        Switch {
            rule: "11, commit: the base before the overlay is emptied",
            during: |op| is_maintenance(op, &["commit"]),
            barriers: &[],
            late: |write| write.file == BELOW,
            cases: maintained,
            seen: &[OTHER_DATA],
        },
        Switch {
            rule: "11, rebase: copies before the name",
            during: |op| is_maintenance(op, &["rebase"]),
            barriers: &[],
            late: |write| write.file == IMAGE && is_mapping(write),
            cases: maintained,
            seen: &[OTHER_DATA],
        },
        Switch {
            rule: "11, amend: the new refcounts before the header",
            during: |op| is_maintenance(op, &["amend refcount_bits"]),
            barriers: &["TableBeforeHeader"],
            late: |_| true,
            cases: maintained,
            seen: &[UNCOUNTED],
        },
        Switch {
            rule: "11, compact: what was moved before its mapping",
            during: |op| is_maintenance(op, &["compact"]),
            barriers: &["ClusterBeforeReference"],
            late: |write| write.what == "a cluster",
            cases: compacting,
            seen: &[OTHER_DATA],
        },
        Switch {
            rule: "11, compact: mappings before the old place is freed",
            during: |op| is_maintenance(op, &["compact"]),
            barriers: &["ClearedBeforeReuse"],
            late: |write| write.what == "a pointer",
            cases: compacting,
            seen: &[UNCOUNTED, COUNTED_ONCE],
        },
        Switch {
            rule: "11, punch: a lowered refcount before the host frees the cluster",
            during: |op| !is_snapshot(op),
            barriers: &["LoweredBeforeUse"],
            late: |write| write.what == "a refcount block",
            cases: ordinary,
            seen: &[FREED_IN_USE],
        },
    ]
}
