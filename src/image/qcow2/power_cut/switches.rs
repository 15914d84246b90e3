//! Switches that break the order of writes, one for each rule of crash consistency, to prove that
//! the oracle sees it.
//!
//! A switch leaves writes of one kind out of what one barrier makes durable, as code would that
//! wrote them too late. Everything else keeps its order.

use super::super::header::AT_L1;
use super::case::{Case, branching, cases, compacting, growing, maintained, resizing};
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
}

impl Switch {
    /// Whether it changes what a barrier of the reason `why` does in `op`.
    pub(super) fn concerns(&self, op: &Op, why: &str) -> bool {
        (self.during)(op) && (self.barriers.is_empty() || self.barriers.contains(&why))
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

/// One or more for each rule.
pub(super) fn switches() -> Vec<Switch> {
    let mut all = mapping();
    all.extend(tables());
    all.extend(snapshots());
    all.extend(flags());
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
        },
        Switch {
            rule: "2: data before its mapping",
            during: any,
            barriers: &["ClusterBeforeReference"],
            late: |write| {
                let kinds = ["guest data", "zeros", "a compressed cluster"];
                kinds.contains(&&*write.what)
            },
            cases: ordinary,
        },
        Switch {
            rule: "3: an entry is cleared before the refcount is lowered",
            during: any,
            barriers: &["ClearedBeforeReuse"],
            late: |write| matches!(&*write.what, "an L2 table" | "the L1 table"),
            cases: ordinary,
        },
        Switch {
            rule: "4: a new L2 table before its L1 entry",
            during: any,
            barriers: &["ClusterBeforeReference"],
            late: |write| write.what == "an L2 table",
            cases: branching,
        },
    ]
}

fn tables() -> Vec<Switch> {
    vec![
        Switch {
            rule: "5: a longer L1 table before the header",
            during: |op| matches!(op, Op::Resize(..)),
            barriers: &["TableBeforeHeader"],
            late: |write| write.what == "the L1 table",
            cases: resizing,
        },
        Switch {
            rule: "5: the header before the old L1 table is freed",
            during: |op| matches!(op, Op::Resize(from, to) if from < to),
            barriers: &["HeaderBeforeRelease", "ClearedBeforeReuse"],
            late: |write| matches!(write.event, Event::Write(AT_L1, _)),
            cases: resizing,
        },
        Switch {
            rule: "6: a refcount block before its table entry",
            during: any,
            barriers: &["BlockBeforeTable"],
            late: |write| write.what == "a refcount block",
            cases: || vec![growing()],
        },
        Switch {
            rule: "6: a refcount table before the header",
            during: any,
            barriers: &["TableBeforeHeader"],
            late: |write| write.what == "the refcount table",
            cases: || vec![growing()],
        },
        Switch {
            rule: "6: the header before the old refcount table is freed",
            during: any,
            barriers: &["HeaderBeforeRelease"],
            late: |write| write.what == "the header",
            cases: || vec![growing()],
        },
    ]
}

fn snapshots() -> Vec<Switch> {
    vec![
        Switch {
            rule: "7: COPIED flags are cleared before a refcount is 2",
            during: is_snapshot,
            barriers: &["FlagsBeforeSharing"],
            late: |_| true,
            cases: branching,
        },
        Switch {
            rule: "7: a snapshot table before the header",
            during: is_snapshot,
            barriers: &["TableBeforeHeader"],
            late: |write| write.what == "the snapshot table",
            cases: branching,
        },
        Switch {
            rule: "7: refcounts of a snapshot before the header",
            during: is_snapshot,
            barriers: &["TableBeforeHeader"],
            late: |write| write.what == "a refcount block",
            cases: branching,
        },
        Switch {
            rule: "7: the header before a tree is given up",
            during: is_snapshot,
            barriers: &["HeaderBeforeRelease", "ClearedBeforeReuse"],
            late: |write| write.what == "the header",
            cases: branching,
        },
        Switch {
            rule: "7: a refcount is back at 1 before COPIED is set",
            during: is_snapshot,
            barriers: &["LoweredBeforeUse"],
            late: |write| write.what == "a refcount block",
            cases: branching,
        },
    ]
}

fn flags() -> Vec<Switch> {
    vec![
        Switch {
            rule: "1 and 8: a mark before the first change",
            during: any,
            barriers: &["FlagBeforeChange"],
            late: |_| true,
            cases: ordinary,
        },
        Switch {
            rule: "1 and 8: everything before the mark is taken away",
            during: any,
            barriers: &["ChangesBeforeFlag"],
            late: |_| true,
            cases: ordinary,
        },
        Switch {
            rule: "13: a guest's flush makes everything durable",
            during: |op| matches!(op, Op::Flush),
            barriers: &["GuestFlush", "ClearedBeforeReuse"],
            late: |_| true,
            cases: ordinary,
        },
    ]
}

fn whole_images() -> Vec<Switch> {
    vec![
        Switch {
            rule: "11, grow: zeros before the size",
            during: |op| matches!(op, Op::Resize(from, to) if from < to),
            barriers: &[
                "GuestFlush",
                "ChangesBeforeFlag",
                "ClearedBeforeReuse",
                "ClusterBeforeReference",
            ],
            late: |write| write.file == IMAGE && write.what != "the header",
            cases: resizing,
        },
        Switch {
            rule: "11, shrink: the size before the mappings",
            during: |op| matches!(op, Op::Resize(from, to) if from > to),
            barriers: &["HeaderBeforeRelease"],
            late: |write| write.what == "the header",
            cases: resizing,
        },
        Switch {
            rule: "11, commit: the base before the overlay is emptied",
            during: |op| is_maintenance(op, &["commit"]),
            barriers: &[],
            late: |write| write.file == BELOW,
            cases: maintained,
        },
        Switch {
            rule: "11, rebase: copies before the name",
            during: |op| is_maintenance(op, &["rebase"]),
            barriers: &[],
            late: |write| write.what != "the header",
            cases: maintained,
        },
        Switch {
            rule: "11, amend: the new refcounts before the header",
            during: |op| is_maintenance(op, &["amend refcount_bits"]),
            barriers: &["TableBeforeHeader"],
            late: |_| true,
            cases: maintained,
        },
        Switch {
            rule: "11, compact: what was moved before its mapping",
            during: |op| is_maintenance(op, &["compact"]),
            barriers: &["ClusterBeforeReference"],
            late: |_| true,
            cases: compacting,
        },
        Switch {
            rule: "11, compact: mappings before the old place is freed",
            during: |op| is_maintenance(op, &["compact"]),
            barriers: &["ClearedBeforeReuse"],
            late: |_| true,
            cases: compacting,
        },
        Switch {
            rule: "11, punch: a lowered refcount before the host frees the cluster",
            during: |op| !is_snapshot(op),
            barriers: &["LoweredBeforeUse"],
            late: |write| write.what == "a refcount block",
            cases: ordinary,
        },
    ]
}
