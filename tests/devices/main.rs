//! The disk controllers over real images: what a driver writes through the registers is what
//! the qcow2 file holds, and the host's speed does not show.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

mod bench;
mod drivers;

use std::sync::Arc;
use std::time::Duration;

use bench::{Bench, Random, SECTORS, new_image, open_image};
use cowbox::image::qcow2::repair::check_storage;
use drivers::{Driver, IdeDma, IdePio, Virtio};

/// A kind of driver, and how it is made.
type Kind = (&'static str, fn(&mut Bench) -> Box<dyn Driver>);

const DRIVERS: [Kind; 3] = [
    ("IDE by PIO", |bench| Box::new(IdePio::new(bench))),
    ("IDE by DMA", |bench| Box::new(IdeDma::new(bench))),
    ("virtio", |bench| Box::new(Virtio::new(bench))),
];

/// Random requests, against a flat vector that says what the disk must hold.
fn exercise(bench: &mut Bench, driver: &mut dyn Driver, rounds: usize) -> Vec<u8> {
    let mut random = Random(5);
    let mut expected = bench.base.clone();
    for round in 0..rounds {
        let count = 1 + random.below(200);
        let sector = random.below(SECTORS - count);
        let range = sector as usize * 512..(sector + count) as usize * 512;
        match random.below(5) {
            0..=1 => {
                let found = driver.read(bench, sector, count);
                assert!(found == expected[range], "round {round}: sector {sector}");
            }
            2..=3 => {
                let bytes = random.bytes(range.len());
                driver.write(bench, sector, &bytes);
                expected[range].copy_from_slice(&bytes);
            }
            _ => driver.flush(bench),
        }
    }
    expected
}

#[test]
fn what_a_driver_writes_is_what_the_overlay_holds() {
    for (name, make) in DRIVERS {
        let (storage, base) = new_image();
        let mut bench = Bench::new(open_image(&storage, &base), base.clone());
        let mut driver = make(&mut bench);
        let expected = exercise(&mut bench, &mut *driver, 200);
        assert_eq!(bench.disks.take_notices(), [""; 0], "{name}");
        assert_eq!(bench.disks.close(), [""; 0], "{name}");
        let image = open_image(&storage, &base);
        let mut found = vec![0; expected.len()];
        image.read_at(&mut found, 0).unwrap();
        assert!(found == expected, "{name}");
        drop(image);
        let report = check_storage(storage, None).unwrap();
        assert_eq!((report.corruptions, report.leaks), (0, 0), "{name}");
    }
}

#[test]
fn a_slow_host_changes_no_tick() {
    for (name, make) in DRIVERS {
        let ticks = [0, 3].map(|milliseconds| {
            let (storage, base) = new_image();
            let image = open_image(&storage, &base);
            let slow = bench::Slow::new(image, Duration::from_millis(milliseconds));
            let mut bench = Bench::new(Arc::new(slow), base);
            let mut driver = make(&mut bench);
            exercise(&mut bench, &mut *driver, 40);
            (bench.now, bench.ticks)
        });
        assert_eq!(ticks[0], ticks[1], "{name}");
        assert!(ticks[0].1.len() > 20, "{name}");
    }
}
