//! `l2-cache-size`, `refcount-cache-size` and `cache-size`: how much memory the cached tables of a
//! qcow2 image may take, as driver options.

use super::size;
use crate::image::qcow2::CacheSizes;

/// What was said of the caches.
#[derive(Debug, Clone, Default)]
pub(super) struct CacheOptions {
    total: Option<u64>,
    l2: Option<u64>,
    refcounts: Option<u64>,
}

impl CacheOptions {
    /// Takes an option; `None` if it is about something else.
    pub(super) fn take(&mut self, key: &str, value: &str) -> Option<Result<(), String>> {
        let place = match key {
            "cache-size" => &mut self.total,
            "l2-cache-size" => &mut self.l2,
            "refcount-cache-size" => &mut self.refcounts,
            _ => return None,
        };
        let parsed = size::parse(value).map(|size| *place = Some(size));
        Some(
            parsed
                .map_err(|_| format!("Parameter '{key}' expects a non-negative number below 2^64")),
        )
    }

    /// The sizes. What `cache-size` leaves goes to the other one; of `cache-size` alone L2 tables
    /// get all but an eighth, since only allocation needs refcounts.
    pub(super) fn sizes(&self) -> Result<CacheSizes, String> {
        let default = CacheSizes::default();
        let exceeds = |part: &str| Err(format!("{part} may not exceed cache-size"));
        let (l2, refcounts) = match (self.total, self.l2, self.refcounts) {
            (Some(_), Some(_), Some(_)) => {
                return Err(
                    "cache-size, l2-cache-size and refcount-cache-size may not be set at \
                            the same time"
                        .to_owned(),
                );
            }
            (Some(total), Some(l2), _) if l2 > total => return exceeds("l2-cache-size"),
            (Some(total), _, Some(n)) if n > total => return exceeds("refcount-cache-size"),
            (Some(total), Some(l2), None) => (l2, total - l2),
            (Some(total), None, Some(refcounts)) => (total - refcounts, refcounts),
            (Some(total), None, None) => (total - total / 8, total / 8),
            (None, l2, refcounts) => (
                l2.unwrap_or(default.l2),
                refcounts.unwrap_or(default.refcounts),
            ),
        };
        Ok(CacheSizes { l2, refcounts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(options: &[(&str, &str)]) -> Result<(u64, u64), String> {
        let mut caches = CacheOptions::default();
        for (key, value) in options {
            caches.take(key, value).unwrap()?;
        }
        caches.sizes().map(|sizes| (sizes.l2, sizes.refcounts))
    }

    #[test]
    fn the_parts_and_the_whole_of_the_caches_fit_together() {
        let m = 1 << 20;
        assert_eq!(sizes(&[]), Ok((32 * m, 8 * m)));
        assert_eq!(sizes(&[("l2-cache-size", "1M")]), Ok((m, 8 * m)));
        assert_eq!(sizes(&[("cache-size", "8M")]), Ok((7 * m, m)));
        let both = [("cache-size", "4M"), ("refcount-cache-size", "1M")];
        assert_eq!(sizes(&both), Ok((3 * m, m)));
        let more = [("cache-size", "1M"), ("l2-cache-size", "2M")];
        assert!(sizes(&more).unwrap_err().contains("may not exceed"));
        assert!(sizes(&[("l2-cache-size", "lots")]).is_err());
    }
}
