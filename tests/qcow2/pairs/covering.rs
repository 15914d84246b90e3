//! Covering arrays of strength 2: rows of levels in which every pair of levels of two factors
//! that can stand together stands together somewhere. Built greedily, a row around a pair that is
//! still missing.

use std::collections::HashSet;

use crate::scratch::Random;

/// A factor, and one of its levels.
pub(super) type Setting = (usize, usize);

/// The levels of a row; what is not yet decided is `None`.
pub(super) type Partial = Vec<Option<usize>>;

/// What rows are made of.
pub(super) struct Factors<'a> {
    /// How many levels each factor has.
    pub(super) levels: &'a [usize],
    /// A setting that takes long: it stands in few more rows than its pairs need.
    pub(super) costly: Setting,
    /// Whether a row, decided or not, can exist.
    pub(super) valid: &'a dyn Fn(&Partial) -> bool,
}

/// Rows in which every valid pair of settings occurs. Where coverage does not decide, the first
/// level, the plain one, is taken half of the time.
pub(super) fn rows(factors: &Factors<'_>, random: &mut Random) -> Vec<Vec<usize>> {
    let mut missing = valid_pairs(factors.levels, factors.valid);
    let mut rows = Vec::new();
    while !missing.is_empty() {
        let mut sorted: Vec<_> = missing.iter().copied().collect();
        sorted.sort_unstable();
        // Rows of the costly setting come first, when each can still bring many of its pairs.
        let is_costly =
            |&(one, other): &(Setting, Setting)| one == factors.costly || other == factors.costly;
        if sorted.iter().any(is_costly) {
            sorted.retain(is_costly);
        }
        let (one, other) = sorted[random.below(sorted.len() as u64) as usize];
        let row = complete(factors, &[one, other], &missing, random);
        missing.retain(|&(a, b)| !(row[a.0] == a.1 && row[b.0] == b.1));
        rows.push(row);
    }
    rows
}

/// All pairs of settings that can stand in one row.
pub(super) fn valid_pairs(
    levels: &[usize],
    valid: &dyn Fn(&Partial) -> bool,
) -> HashSet<(Setting, Setting)> {
    let settings = |factor: usize| (0..levels[factor]).map(move |level| (factor, level));
    let mut pairs = HashSet::new();
    for first in 0..levels.len() {
        for second in first + 1..levels.len() {
            for one in settings(first) {
                pairs.extend(settings(second).map(|other| (one, other)));
            }
        }
    }
    pairs.retain(|&(one, other)| {
        let mut row = vec![None; levels.len()];
        row[one.0] = Some(one.1);
        row[other.0] = Some(other.1);
        valid(&row)
    });
    pairs
}

/// A row with `fixed` in it, whose other factors, in random order, take the level that brings the
/// most missing pairs.
fn complete(
    factors: &Factors<'_>,
    fixed: &[Setting],
    missing: &HashSet<(Setting, Setting)>,
    random: &mut Random,
) -> Vec<usize> {
    let levels = factors.levels;
    let mut row: Partial = vec![None; levels.len()];
    for &(factor, level) in fixed {
        row[factor] = Some(level);
    }
    let mut open: Vec<usize> = (0..levels.len()).filter(|&f| row[f].is_none()).collect();
    while !open.is_empty() {
        let factor = open.swap_remove(random.below(open.len() as u64) as usize);
        let allowed = (0..levels[factor]).filter(|&level| {
            let mut row = row.clone();
            row[factor] = Some(level);
            (factors.valid)(&row)
        });
        let gains: Vec<(usize, usize)> = allowed
            .map(|level| (gain((factor, level), &row, missing), level))
            .collect();
        let best = gains.iter().map(|&(gain, _)| gain).max();
        let mut best: Vec<usize> = gains
            .iter()
            .filter(|&&(gain, _)| Some(gain) == best)
            .map(|&(_, level)| level)
            .collect();
        if best.len() > 1 {
            best.retain(|&level| (factor, level) != factors.costly);
        }
        let pick = match random.below(2) {
            0 => 0,
            _ => random.below(best.len() as u64) as usize,
        };
        row[factor] = Some(best[pick]);
    }
    row.into_iter().flatten().collect()
}

/// How many missing pairs a setting makes with what is decided.
fn gain(new: Setting, row: &Partial, missing: &HashSet<(Setting, Setting)>) -> usize {
    let decided = row.iter().enumerate();
    decided
        .filter_map(|(factor, level)| level.map(|level| (factor, level)))
        .filter(|&old| missing.contains(&(old.min(new), old.max(new))))
        .count()
}

#[test]
fn every_valid_pair_stands_in_some_row_and_no_invalid_one() {
    let levels = [2, 5, 7, 3, 2, 4];
    // The first two levels of the last factor exclude the last level of the third.
    let valid = |row: &Partial| !(row[2] == Some(6) && row[5].is_some_and(|level| level < 2));
    let factors = Factors {
        levels: &levels,
        costly: (5, 3),
        valid: &valid,
    };
    let rows = rows(&factors, &mut Random(1));
    for ((a, b), (c, d)) in valid_pairs(&levels, &valid) {
        assert!(rows.iter().any(|row| row[a] == b && row[c] == d));
    }
    assert!(rows.iter().all(|row| !(row[2] == 6 && row[5] < 2)));
    assert!(rows.len() < 60, "{} rows for 35 pairs", rows.len());
    let costly = rows.iter().filter(|row| row[5] == 3).count();
    assert!(costly < 11, "{costly} rows for 7 pairs");
}
