//! What many measurements come to.

/// The value that `percent` of `samples` lie below, by linear interpolation on rank `(n - 1) * percent / 100`. None of
/// none is not a number.
pub fn percentile(samples: &[f64], percent: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = sorted.len().saturating_sub(1) as f64 * percent / 100.0;
    let at = |rank: f64| sorted.get(rank as usize).copied().unwrap_or(f64::NAN);
    at(rank.floor()) + (at(rank.ceil()) - at(rank.floor())) * rank.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are those of Python's `numpy.percentile` with its default method.
    #[test]
    fn percentiles_are_interpolated_between_ranks() {
        let samples = [40.0, 10.0, 30.0, 20.0];
        for (percent, expected) in [(0.0, 10.0), (50.0, 25.0), (95.0, 38.5), (99.0, 39.7), (100.0, 40.0)] {
            assert!((percentile(&samples, percent) - expected).abs() < 1e-9, "{percent}");
        }
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 50.0), 4.0);
    }

    #[test]
    fn one_sample_is_every_percentile_and_none_is_no_number() {
        assert_eq!(percentile(&[7.0], 99.0), 7.0);
        assert!(percentile(&[], 50.0).is_nan());
    }
}
