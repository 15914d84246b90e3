//! Checking an image that somebody else is writing (`-U`).
//!
//! The writer changes tables one after the other, and a pass over them sees some before and some
//! after. Such findings do not last; what the file really suffers from does. So a finding counts
//! if each of [`PASSES`] passes, [`PAUSE`] apart, has it, and a failure if all of them fail.

use std::path::Path;
use std::time::Duration;

use super::qcow2::check::Report;
use super::{ErrorKind, OpenOptions, Result, open};

/// How often findings must be made.
const PASSES: usize = 3;
/// Longer than a writer takes from one table to the next, if its disk is not very slow.
const PAUSE: Duration = Duration::from_millis(300);

/// Checks the image at `path` while others may be writing it; `None` if its format has nothing to
/// check. Nothing is locked and nothing is written.
pub fn check(path: &Path, options: &OpenOptions) -> Result<Option<Report>> {
    persisting(|| open::check(path, options, None), PAUSE)
}

/// What all passes find.
fn persisting(
    mut pass: impl FnMut() -> Result<Option<Report>>,
    pause: Duration,
) -> Result<Option<Report>> {
    let mut found: Option<Report> = None;
    for number in 1..=PASSES {
        match pass() {
            Ok(None) => return Ok(None),
            Ok(Some(report)) => {
                let report = match found {
                    Some(before) => report.also_in(&before),
                    None => report,
                };
                if report.corruptions == 0 && report.leaks == 0 {
                    return Ok(Some(report));
                }
                found = Some(report);
            }
            // The header or a table may have been read half changed.
            Err(error) if number < PASSES && error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
        if number < PASSES {
            std::thread::sleep(pause);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageError;

    fn report(errors: &[&str], leaks: &[&str]) -> Report {
        let lines = errors.iter().chain(leaks);
        Report {
            corruptions: errors.len() as u64,
            leaks: leaks.len() as u64,
            messages: lines.map(|line| (*line).to_owned()).collect(),
            ..Report::default()
        }
    }

    fn check_of(mut passes: Vec<Result<Option<Report>>>) -> Result<Option<Report>> {
        passes.reverse();
        persisting(|| passes.pop().unwrap(), Duration::ZERO)
    }

    #[test]
    fn only_what_every_pass_finds_is_reported() {
        let passes = vec![
            Ok(Some(report(&["ERROR a"], &["Leaked b", "Leaked c"]))),
            Ok(Some(report(&[], &["Leaked c", "Leaked d"]))),
            Ok(Some(report(&["ERROR a"], &["Leaked c"]))),
        ];
        let found = check_of(passes).unwrap().unwrap();
        assert_eq!((found.corruptions, found.leaks), (0, 1));
        assert_eq!(found.messages, ["Leaked c"]);
    }

    #[test]
    fn a_pass_without_findings_ends_the_check() {
        let passes = vec![
            Ok(Some(report(&["ERROR a"], &[]))),
            Ok(Some(report(&[], &[]))),
        ];
        let found = check_of(passes).unwrap().unwrap();
        assert_eq!((found.corruptions, found.leaks), (0, 0));
    }

    #[test]
    fn a_pass_that_fails_is_tried_again_and_the_last_failure_counts() {
        let torn = || Err(ImageError::corrupt("half a header"));
        let passes = vec![torn(), Ok(Some(report(&[], &[])))];
        assert!(check_of(passes).unwrap().is_some());
        assert!(check_of(vec![torn(), torn(), torn()]).is_err());
    }
}
