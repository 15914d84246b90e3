//! Who holds an image: the kernel does not name the holder of an OFD lock, but `/proc` shows
//! which processes have the same inode open and locked.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::FileId;

/// `NAME (process PID)` of the processes of this user that hold a lock on the file `id`, this
/// process only where no other does. `None` if none is visible.
pub(super) fn describe(id: FileId) -> Option<String> {
    let own = std::process::id();
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| locks(pid, id))
        .collect();
    if pids.iter().any(|&pid| pid != own) {
        pids.retain(|&pid| pid != own);
    }
    let names: Vec<String> = pids.iter().map(|&pid| name(pid)).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn locks(pid: u32, id: FileId) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let same = fs::metadata(entry.path())
            .is_ok_and(|meta| meta.dev() == id.device && meta.ino() == id.inode);
        same && has_lock(pid, &entry.file_name().to_string_lossy())
    })
}

fn has_lock(pid: u32, fd: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}"))
        .is_ok_and(|info| info.lines().any(|line| line.starts_with("lock:")))
}

fn name(pid: u32) -> String {
    let command = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"));
    match command {
        Ok(comm) => format!("{} (process {pid})", comm.trim().escape_debug()),
        Err(_) => format!("process {pid}"),
    }
}
