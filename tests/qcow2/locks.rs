//! Who may use an image at the same time as whom, between QEMU's programs and us.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use cowbox::image::qcow2::create::CreateOptions;
use cowbox::image::{self, ErrorKind, Image, OpenOptions};

use crate::programs::{COWBOX, assert_clean, create, open, qemu, run, text};
use crate::scratch::{Random, Scratch};

#[test]
fn each_side_refuses_an_image_that_the_other_is_writing() {
    let scratch = Scratch::new("locks");
    let file = scratch.path("image.qcow2");
    let name = text(&file);
    qemu("qemu-img", &["create", "-q", "-f", "qcow2", name, "8M"]);
    let image = open(&file, &OpenOptions::default());
    let refused = run("qemu-img", &["info", name]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("lock"));
    qemu("qemu-img", &["info", "-U", name]);
    let again = image::open(&file, &OpenOptions::read_only()).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Locked);
    drop(image);
    let mut writer = Command::new("qemu-io")
        .args(["-f", "qcow2", "-c", "write 0 4k", "-c", "sleep 3000", name])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let refused = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        image::open(&file, &OpenOptions::default()).err()
    });
    writer.kill().unwrap();
    writer.wait().unwrap();
    let refused = refused.unwrap();
    assert_eq!(refused.kind(), ErrorKind::Locked);
    let holder = format!("qemu-io (process {})", writer.id());
    assert!(refused.to_string().contains(&holder), "{refused}");
}

/// Writes, discards and flushes at full speed until `ended`, in an image of small clusters.
fn write_until(ended: &AtomicBool, image: &dyn Image) {
    let mut random = Random(3);
    while !ended.load(Ordering::Relaxed) {
        let at = random.below(image.size() / 512 - 200) * 512;
        let len = (1 + random.below(200)) as usize * 512;
        match random.below(12) {
            0 => image.discard(at, len as u64).unwrap(),
            1 => image.flush().unwrap(),
            _ => image.write_at(&random.bytes(len), at).unwrap(),
        }
    }
}

/// Ends the writer, also where the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn looking_on_neither_fails_nor_disturbs_and_needs_permission() {
    let scratch = Scratch::new("looking-on");
    let file = scratch.path("image.qcow2");
    let options = CreateOptions {
        size: 32 << 20,
        cluster_size: 4096,
        ..CreateOptions::default()
    };
    create(&file, &options);
    let image = open(&file, &OpenOptions::default());
    let ended = AtomicBool::new(false);
    let img = |args: &[&str]| {
        let args = [&["img"], args, &[text(&file)]].concat();
        Command::new(COWBOX).args(args).output().unwrap()
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&ended, &*image));
        let _end = End(&ended);
        for round in 0..20 {
            for command in ["info", "map", "check"] {
                let output = img(&[command, "-U"]);
                // Space that the writer is yet to give back may last from pass to pass.
                let fine: &[i32] = if command == "check" { &[0, 3] } else { &[0] };
                let code = output.status.code().unwrap();
                assert!(fine.contains(&code), "{command} {round}: {output:?}");
            }
        }
        for command in ["info", "map", "check"] {
            let refused = img(&[command]);
            let said = String::from_utf8_lossy(&refused.stderr);
            let holder = format!("(process {})", std::process::id());
            assert!(
                !refused.status.success() && said.contains(&holder),
                "{said}"
            );
            assert!(
                said.contains("writes to it") && said.contains("-U"),
                "{said}"
            );
        }
        assert!(!writer.is_finished(), "the writer was disturbed");
    });
    // Nobody writes now; whoever looks on does not either.
    image.flush().unwrap();
    let before = std::fs::read(&file).unwrap();
    for command in ["info", "map", "check"] {
        assert!(img(&[command, "-U"]).status.success(), "{command}");
    }
    assert!(std::fs::read(&file).unwrap() == before, "somebody wrote");
    image.close().unwrap();
    drop(image);
    assert_clean(&file);
}
