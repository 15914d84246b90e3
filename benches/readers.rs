//! Two threads that read one image at random, beside one, and beside two that read a bare file.
//!
//! `cargo bench --bench readers [DIRECTORY]`: the files, 512 MiB each, are made in the directory
//! (default /dev/shm) and removed. Each figure is the median of several rounds taken in turn.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cowbox::image::qcow2::create::CreateOptions;
use cowbox::image::{self, Format, OpenOptions};

const SIZE: u64 = 512 << 20;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(400);

/// Reads bytes at an offset.
type Read<'a> = &'a (dyn Fn(&mut [u8], u64) + Sync);

fn main() -> Result<(), Box<dyn Error>> {
    let mut names = env::args().skip(1).filter(|word| !word.starts_with('-'));
    let directory = PathBuf::from(names.next().unwrap_or_else(|| "/dev/shm".to_owned()));
    let [bare, qcow2] =
        ["raw", "qcow2"].map(|kind| directory.join(format!("cowbox-readers.{kind}")));
    let measured = measure(&bare, &qcow2);
    for file in [bare, qcow2] {
        let _ = fs::remove_file(file);
    }
    measured
}

fn measure(bare: &Path, qcow2: &Path) -> Result<(), Box<dyn Error>> {
    fs::write(bare, vec![1; SIZE as usize])?;
    let options = CreateOptions {
        size: SIZE,
        ..CreateOptions::default()
    };
    image::create(qcow2, Format::Qcow2, &options)?;
    let written = image::open(qcow2, &OpenOptions::default())?;
    for at in (0..SIZE).step_by(1 << 20) {
        written.write_at(&[1; 1 << 20], at)?;
    }
    written.close()?;
    drop(written);
    let file = File::open(bare)?;
    let image = image::open(qcow2, &OpenOptions::read_only())?;
    let bare: Read<'_> = &|buf, at| file.read_exact_at(buf, at).expect("the file can be read");
    let qcow2: Read<'_> = &|buf, at| image.read_at(buf, at).expect("the image can be read");
    println!("bytes a read  reads a second by one  two readers beside one  two of a bare file");
    for block in [4096, 65536] {
        let (one, ratio) = two_beside_one(qcow2, block);
        let (_, machine) = two_beside_one(bare, block);
        println!("{block:>12}  {one:>21.0}  {ratio:>22.2}x {machine:>18.2}x");
    }
    Ok(())
}

/// Reads a second by one thread, and how many times that two of them reach.
fn two_beside_one(read: Read<'_>, block: u64) -> (f64, f64) {
    let rounds = [(); ROUNDS].map(|()| {
        let one = reads_a_second(read, block, 1);
        (one, reads_a_second(read, block, 2) / one)
    });
    (
        median(rounds.map(|(one, _)| one)),
        median(rounds.map(|(_, ratio)| ratio)),
    )
}

fn median(mut figures: [f64; ROUNDS]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[ROUNDS / 2]
}

fn reads_a_second(read: Read<'_>, block: u64, threads: u64) -> f64 {
    let over = &AtomicBool::new(false);
    let reads: u64 = thread::scope(|scope| {
        let reader = |seed: u64| {
            let (mut buffer, mut state, mut count) = (vec![0; block as usize], seed, 0);
            while !over.load(Ordering::Relaxed) {
                // Knuth's MMIX generator; its low bits are poor.
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                read(&mut buffer, (state >> 20) % (SIZE / block) * block);
                count += 1;
            }
            count
        };
        let readers: Vec<_> = (1..=threads)
            .map(|seed| scope.spawn(move || reader(seed)))
            .collect();
        thread::sleep(ROUND);
        over.store(true, Ordering::Relaxed);
        readers
            .into_iter()
            .map(|reader| reader.join().expect("no reader panics"))
            .sum()
    });
    reads as f64 / ROUND.as_secs_f64()
}
