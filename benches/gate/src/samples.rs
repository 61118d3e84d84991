//! Times of single decisions.

use std::time::Duration;

/// Times in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<u32>);

impl Samples {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(u32::try_from(time.as_nanos()).unwrap_or(u32::MAX));
    }

    /// By linear interpolation on rank `(n - 1) * percent / 100`.
    pub fn percentile(&self, percent: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = sorted.len().saturating_sub(1) as f64 * percent / 100.0;
        let at = |index: f64| sorted.get(index as usize).copied().map_or(f64::NAN, f64::from);
        at(rank.floor()) + (at(rank.ceil()) - at(rank.floor())) * rank.fract()
    }
}
