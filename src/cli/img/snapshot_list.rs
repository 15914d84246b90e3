//! The list of internal snapshots, as `snapshot -l` and `info` print it.

use super::size;
use crate::image::Escaped;
use crate::image::qcow2::snapshot::Snapshot;

/// The lines of the list, the heading first.
pub(super) fn table(snapshots: &[Snapshot]) -> String {
    let mut text = row(["ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT"]);
    for snapshot in snapshots {
        let milliseconds = snapshot.vm_clock / 1_000_000;
        let (seconds, hours) = (milliseconds / 1000, milliseconds / 3_600_000);
        let clock = format!(
            "{hours:04}:{:02}:{:02}.{:03}",
            seconds / 60 % 60,
            seconds % 60,
            milliseconds % 1000
        );
        let instructions = snapshot
            .instructions
            .map_or("--".to_owned(), |n| n.to_string());
        text += &row([
            &Escaped(&snapshot.id).to_string(),
            &Escaped(&snapshot.name).to_string(),
            &size::human(snapshot.vm_state_size),
            &date(snapshot.date.0),
            &clock,
            &instructions,
        ]);
    }
    text
}

fn row([id, tag, size, date, clock, instructions]: [&str; 6]) -> String {
    format!("{id:<7} {tag:<16} {size:>8} {date:>19} {clock:>15} {instructions:>10}\n")
}

/// The local date and time of a number of seconds since 1970.
fn date(seconds: u32) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.into());
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.trim_end_matches('Z').replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_where_scripts_look_for_them() {
        let text = row(["ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT"]);
        let wanted =
            "ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT\n";
        assert_eq!(text, wanted);
        assert_eq!(date(1_795_341_593), "2026-11-22 09:59:53");
    }
}
