//! Whether QEMU's programs and ours say the same about an image, and both what it must hold.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use cowbox::image::qcow2::Purpose;
use cowbox::image::qcow2::bitmap::Directory;
use cowbox::image::qcow2::create::DataFileContents;
use cowbox::image::qcow2::header::Header;
use cowbox::image::{self, ErrorKind, OpenOptions};
use cowbox::storage::MemoryStorage;
use serde_json::Value;

use super::author::{Place, described, img};
use super::configuration::PASSWORD;
use super::workload::Disk;
use crate::programs::{COWBOX, contents, patiently, qemu, run, text};

/// What an image must hold.
pub(super) struct Expected {
    pub(super) disk: Disk,
    /// Snapshots by name.
    pub(super) snapshots: Vec<(&'static str, Disk)>,
    /// Bitmaps by name, with granularity, whether they are enabled, and the disk with what changed
    /// since they were added.
    pub(super) bitmaps: Vec<(&'static str, u64, bool, Disk)>,
}

/// Fails where the two differ, or the image is not as expected.
pub(super) fn assert_agreed(place: &Place<'_>, expected: &Expected) {
    check(place);
    info(place, expected);
    map(place);
    let flat = contents_agree(place, expected);
    compare(place, &flat);
    bitmaps(place, expected);
    if place.configuration.is_encrypted() {
        wrong_passwords_are_refused(place);
    }
}

fn json(ours: bool, words: &[&str], place: &Place<'_>) -> Value {
    let text = img(ours, words, &place.named(PASSWORD));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{words:?} of {ours}: {e}: {text}"))
}

/// The answers of QEMU and of us to the same command.
fn both(words: &[&str], place: &Place<'_>) -> [Value; 2] {
    [false, true].map(|ours| json(ours, words, place))
}

fn check(place: &Place<'_>) {
    let [mut theirs, mut ours] = both(&["check", "--output=json"], place);
    for answer in [&mut theirs, &mut ours] {
        // With driver options, QEMU makes up a name out of them.
        answer.as_object_mut().unwrap().remove("filename");
    }
    assert_eq!(theirs, ours, "check: theirs and ours");
}

fn info(place: &Place<'_>, expected: &Expected) {
    let [mut theirs, mut ours] = both(&["info", "--output=json"], place);
    for answer in [&mut theirs, &mut ours] {
        let fields = answer.as_object_mut().unwrap();
        for field in ["filename", "children"] {
            fields.remove(field);
        }
    }
    // A field that QEMU has since 9.0.
    let encrypt = |answer: &Value| answer["format-specific"]["data"].get("encrypt").cloned();
    if encrypt(&theirs).is_some_and(|fields| fields.get("detached-header").is_none()) {
        let fields = &mut ours["format-specific"]["data"]["encrypt"];
        fields.as_object_mut().unwrap().remove("detached-header");
    }
    assert_eq!(theirs, ours, "info: theirs and ours");
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        let names = list
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned());
        names.collect()
    };
    let snapshots: Vec<&str> = expected.snapshots.iter().map(|one| one.0).collect();
    assert_eq!(names(&ours["snapshots"]), snapshots);
    let bitmaps: Vec<&str> = expected.bitmaps.iter().map(|one| one.0).collect();
    let mut listed = names(&ours["format-specific"]["data"]["bitmaps"]);
    listed.sort_unstable();
    let mut wanted = bitmaps.clone();
    wanted.sort_unstable();
    assert_eq!(listed, wanted);
}

fn map(place: &Place<'_>) {
    let [theirs, mut ours] = both(&["map", "--output=json"], place);
    // A field that QEMU has since 8.2.
    if theirs[0].get("compressed").is_none() {
        for row in ours.as_array_mut().unwrap() {
            row.as_object_mut().unwrap().remove("compressed");
        }
    }
    assert_eq!(theirs, ours, "map: theirs and ours");
}

/// Reads disk and snapshots by both; gives the file with what QEMU read of the disk.
fn contents_agree(place: &Place<'_>, expected: &Expected) -> std::path::PathBuf {
    let flat = place.scratch.path("flat");
    let read_only = OpenOptions {
        read_only: true,
        ..place.configuration.open_options(PASSWORD)
    };
    let snapshots = expected.snapshots.iter();
    let snapshots = snapshots.map(|(name, disk)| (Some(*name), disk));
    for (snapshot, disk) in snapshots.chain([(None, &expected.disk)]) {
        let mut words = vec!["convert", "-O", "raw"];
        if let Some(name) = snapshot {
            words.extend(["-l", name]);
        }
        let rest = [place.named(PASSWORD), vec![text(&flat).to_owned()]].concat();
        img(false, &words, &rest);
        let theirs = std::fs::read(&flat).unwrap();
        let options = OpenOptions {
            snapshot: snapshot.map(|name| name.as_bytes().to_vec()),
            ..read_only.clone()
        };
        let ours = contents(&place.image(), &options);
        let differs = theirs.iter().zip(&ours).position(|(a, b)| a != b);
        assert_eq!(
            differs, None,
            "{snapshot:?}: they read another byte than we"
        );
        assert_eq!(theirs.len(), ours.len(), "{snapshot:?}");
        assert_eq!(disk.differs(&ours), None, "{snapshot:?}: a wrong byte");
    }
    if place.configuration.data_file == Some(DataFileContents::Raw)
        && !place.configuration.is_encrypted()
    {
        // It ends with a cluster, the disk perhaps inside one.
        let data = std::fs::read(place.data()).unwrap();
        let disk = std::fs::read(&flat).unwrap();
        assert!(data.starts_with(&disk), "the data file is the disk");
    }
    flat
}

/// `compare` of both programs: the image and its flat copy are the same.
fn compare(place: &Place<'_>, flat: &Path) {
    let raw = format!("driver=raw,file.filename={}", flat.display());
    let rest = [described(PASSWORD), vec![place.description(), raw]].concat();
    for ours in [false, true] {
        let said = img(ours, &["compare"], &rest);
        assert!(said.contains("Images are identical."), "{said}");
    }
}

fn bitmaps(place: &Place<'_>, expected: &Expected) {
    if expected.bitmaps.is_empty() {
        return;
    }
    let storage = MemoryStorage::new(std::fs::read(place.image()).unwrap());
    let header = Header::read(&storage, Purpose::Contents).unwrap();
    let directory = Directory::read(&storage, &header).unwrap();
    for (name, granularity, enabled, disk) in &expected.bitmaps {
        let found = directory.bitmaps.iter();
        let mut found = found.filter(|bitmap| bitmap.name == name.as_bytes());
        let bitmap = found.next().unwrap();
        assert!(
            bitmap.is_consistent() && header.autoclear & 1 == 1,
            "{name}"
        );
        let bits = bitmap.bits(&storage, &header).unwrap();
        let set = |bit: &u64| bits[(bit / 8) as usize] >> (bit % 8) & 1 == 1;
        let set: Vec<u64> = (0..bits.len() as u64 * 8).filter(set).collect();
        match enabled {
            true => disk.check_bitmap(name, *granularity, &set),
            false => assert!(set.is_empty(), "{name} is disabled"),
        }
        assert_eq!(
            exported(place, name, *granularity),
            set,
            "{name}: theirs, ours"
        );
    }
}

/// The granules that QEMU takes as dirty: exported by qemu-nbd, seen by qemu-img.
fn exported(place: &Place<'_>, bitmap: &str, granularity: u64) -> Vec<u64> {
    let socket = place.scratch.path("nbd");
    let mut server = Server::start(place, bitmap, &socket);
    let image = format!(
        "driver=nbd,export=,server.type=unix,server.path={},\
         x-dirty-bitmap=qemu:dirty-bitmap:{bitmap}",
        socket.display()
    );
    let map = qemu(
        "qemu-img",
        &["map", "--output=json", "--image-opts", &image],
    );
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    let rows: Value = serde_json::from_str(&map).unwrap();
    let mut set = Vec::new();
    // Through this window, what is dirty looks like a hole.
    for row in rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["data"] == false)
    {
        let start = row["start"].as_u64().unwrap();
        let end = start + row["length"].as_u64().unwrap();
        set.extend(start / granularity..end.div_ceil(granularity));
    }
    set
}

/// A qemu-nbd that is over with its owner.
struct Server(Child);

impl Server {
    fn start(place: &Place<'_>, bitmap: &str, socket: &Path) -> Self {
        let _ = std::fs::remove_file(socket);
        let named = place.named(PASSWORD);
        for _ in 0..500 {
            let server = Command::new("qemu-nbd")
                .args(["-r", "-t", "-e", "2", "-B", bitmap, "-k", text(socket)])
                .args(&named)
                .stderr(Stdio::null())
                .spawn();
            let mut server = Self(server.unwrap());
            while server.0.try_wait().unwrap().is_none() {
                if std::os::unix::net::UnixStream::connect(socket).is_ok() {
                    return server;
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        panic!("qemu-nbd does not export {bitmap}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wrong_passwords_are_refused(place: &Place<'_>) {
    // Of a legacy password only 16 bytes count, and there is nothing to test a wrong one against:
    // other bytes come out.
    let luks = place.configuration.encryption == super::configuration::Cipher::Luks;
    let options = OpenOptions {
        read_only: true,
        ..place.configuration.open_options("Geheim")
    };
    let opened = patiently(|| image::open(&place.image(), &options));
    let flat = place.scratch.path("wrong");
    let mut convert = vec!["convert".to_owned(), "-O".to_owned(), "raw".to_owned()];
    convert.extend(place.named("Geheim"));
    convert.push(text(&flat).to_owned());
    let ours = [&["img".to_owned()], &convert[..]].concat();
    let refused = [run("qemu-img", &convert), run(COWBOX, &ours)];
    if luks {
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Password);
        for output in &refused {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(
                !output.status.success() && errors.contains("password"),
                "{errors}"
            );
        }
    } else {
        assert!(opened.is_ok());
    }
    let none = patiently(|| image::open(&place.image(), &OpenOptions::read_only()));
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Password);
}
