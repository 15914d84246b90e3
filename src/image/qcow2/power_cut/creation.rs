//! Power cuts while an image is made, in a new file and in one that holds another image.

use super::super::create::create;
use super::super::header::Header;
use super::super::repair::check_storage;
use super::case::{self, Case};
use super::cut::{Replay, cut};
use super::files::{Contents, Files};
use super::oracle::read;
use super::random::Random;
use super::workload::{Op, create_options};
use crate::image::qcow2::Purpose;
use crate::image::{Image, probe};
use crate::storage::record::Event;

/// Cuts at each write; gives the number of states.
pub(super) fn explore(case: &Case, over: Vec<u8>, seeds: u64) -> Result<usize, String> {
    let start: Contents = [over, Vec::new(), case::below_at_first(case)];
    let files = Files::recorded(start.clone());
    create(&*files.image, &create_options(case)).unwrap();
    let events = files.journal.as_ref().unwrap().events();
    let mut states = 0;
    for seed in 0..seeds {
        let mut random = Random(seed);
        let mut replay = Replay::new(start.clone(), None);
        for (file, event) in &events {
            match event {
                Event::Flush => replay.flush(*file, "", &Op::Flush),
                event => replay.push(*file, String::new(), event.clone()),
            }
            states += 1;
            let state = cut(&replay.durable, &replay.pending, &mut random);
            judge(state, &start, case).map_err(|e| format!("seed {seed}, state {states}: {e}"))?;
        }
    }
    Ok(states)
}

/// Either there is no image, or it is the old one as it was, or the new one as it is to be.
fn judge(state: Contents, start: &Contents, case: &Case) -> Result<(), String> {
    if state[0] == start[0] {
        return Ok(());
    }
    let files = Files::new(state);
    if probe(&*files.image).unwrap().is_none() {
        return Ok(());
    }
    let header = Header::read(&*files.image, Purpose::Contents);
    let header = header.map_err(|e| format!("header: {e}"))?;
    let names = create_options(case)
        .backing
        .map(|(name, _)| name.into_bytes());
    if header.backing_name != names {
        return Err(format!(
            "the backing file is called {:?}",
            header.backing_name
        ));
    }
    let report = check_storage(files.image.clone(), None).map_err(|e| e.to_string())?;
    if report.corruptions > 0 {
        return Err(format!("check: {:?}", report.messages));
    }
    let image = case::open(&files, case).map_err(|e| format!("open: {e}"))?;
    let disk = read(&image)?;
    let below = image.backing().map_or(0, |below| below.size()) as usize;
    let own = disk.get(below..).unwrap_or(&[]);
    match own.iter().all(|&byte| byte == 0) {
        true => Ok(()),
        false => Err("a new image shows data".to_owned()),
    }
}
