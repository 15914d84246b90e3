//! Who may use an image at the same time as whom, between QEMU's programs and us.

use std::process::Command;

use cowbox::image::{self, ErrorKind, OpenOptions};

use crate::programs::{open, qemu, run, text};
use crate::scratch::Scratch;

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
