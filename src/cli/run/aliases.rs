//! The options that QEMU's users type with one dash, as this program's own.

use std::ffi::OsString;

/// Replaces the aliases among the arguments behind `run`.
pub(in crate::cli) fn expand(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut expanded = Vec::new();
    let mut drive = false;
    for argument in arguments {
        if std::mem::take(&mut drive) {
            // A file name: a comma in it is doubled, as in any disk option.
            let name = argument.to_string_lossy().replace(',', ",,");
            expanded.push(name.into());
            continue;
        }
        match argument.to_str() {
            Some("-hda" | "-hdb" | "-hdc" | "-hdd") => {
                expanded.push("--disk".into());
                drive = true;
            }
            Some("-nographic") => {
                expanded.extend(["--display", "none", "--serial", "stdio"].map(OsString::from));
            }
            Some(
                alias @ ("-kernel" | "-initrd" | "-append" | "-bios" | "-snapshot" | "-no-reboot"
                | "-serial" | "-display" | "-boot" | "-qmp" | "-debugcon" | "-cpu"),
            ) => expanded.push(format!("-{alias}").into()),
            _ => expanded.push(argument),
        }
    }
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(arguments: &[&str]) -> Vec<String> {
        let arguments = arguments.iter().map(OsString::from);
        let expanded = expand(arguments).into_iter();
        expanded.map(|a| a.into_string().unwrap()).collect()
    }

    #[test]
    fn the_options_of_qemu_become_ours() {
        assert_eq!(
            expanded(&["run", "-hda", "a,b.img", "-no-reboot", "-m", "64"]),
            ["run", "--disk", "a,,b.img", "--no-reboot", "-m", "64"]
        );
        assert_eq!(
            expanded(&["-nographic", "-append", "-hda"]),
            [
                "--display",
                "none",
                "--serial",
                "stdio",
                "--append",
                "--disk"
            ]
        );
    }
}
