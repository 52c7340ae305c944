//! Statistics: medians, their uncertainty, geometric means, and the best peer that noise does not pick.

/// A ratio of medians with the half width of its confidence interval, relative to the ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The median of the per-round ratios.
    pub value: f64,
    /// How far the interval around it reaches, as a share of the value.
    pub noise: f64,
}

/// One contestant's values by round; `None` where the run failed.
pub type Rounds = Vec<Option<f64>>;

/// The median of `values`; `None` without any.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The geometric mean of `values`; `None` without any.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    let count = count_of(values);
    (count > 0.0).then(|| (values.iter().map(|value| value.ln()).sum::<f64>() / count).exp())
}

/// The median of `values` with its noise: the distribution-free confidence interval by order statistics
/// (David and Nagaraja, Order Statistics, 7.1), of 95% from six values on. Fewer values cover less, so their range
/// is widened; a single value says nothing about noise.
pub fn median_with_noise(values: &[f64]) -> Option<Ratio> {
    let sorted = sorted(values);
    let value = median(&sorted)?;
    let cut = values_cut(sorted.len());
    let low = *sorted.get(cut)?;
    let high = *sorted.get(sorted.len() - 1 - cut)?;
    let noise = match WIDENING.get(sorted.len()) {
        Some(factor) if factor.is_infinite() => f64::INFINITY,
        Some(factor) => factor * (high - value).max(value - low) / value,
        None => (high - value).max(value - low) / value,
    };
    Some(Ratio { value, noise })
}

/// At index n: by how much half the range of n values must be widened to be a 95% interval of normal errors. This is
/// Student's t over the square root of n, with the standard deviation estimated from the range (Tippett's d2).
const WIDENING: [f64; 6] = [f64::INFINITY, f64::INFINITY, 15.93, 2.94, 1.55, 1.07];

/// How many values may be cut at each end so that the rest still covers the median with 95% probability.
fn values_cut(len: usize) -> usize {
    let exponent = i32::try_from(len).unwrap_or(i32::MAX);
    let mut tail = 0.5_f64.powi(exponent);
    let mut term = tail;
    let mut cut = 0;
    // P(fewer than cut + 2 values below the median), doubled, must stay below 5%.
    for chosen in 1..len / 2 {
        term *= count_f64(len + 1 - chosen) / count_f64(chosen);
        tail += term;
        if 2.0 * tail > 0.05 {
            break;
        }
        cut = chosen;
    }
    cut
}

/// The mean of ratios over rows, with the noise of the rows carried along as if they were independent.
pub fn mean_of_ratios(ratios: &[Ratio]) -> Option<Ratio> {
    let values: Vec<f64> = ratios.iter().map(|ratio| ratio.value).collect();
    let value = geometric_mean(&values)?;
    let squares: f64 = ratios.iter().map(|ratio| ratio.noise * ratio.noise).sum();
    Some(Ratio { value, noise: squares.sqrt() / count_of(&values) })
}

/// The best peer of each half of the rounds: indices into `peers`, first of the rounds 0, 2, 4, ..., then of the
/// others. With a single round both halves are that round.
pub fn best_of_halves(peers: &[Rounds]) -> Option<[usize; 2]> {
    let even = best_in(peers, |round| round % 2 == 0);
    let odd = best_in(peers, |round| round % 2 == 1);
    Some([even.or(odd)?, odd.or(even)?])
}

fn best_in(peers: &[Rounds], in_half: impl Fn(usize) -> bool) -> Option<usize> {
    let medians = peers.iter().enumerate().filter_map(|(index, rounds)| {
        let values: Vec<f64> = rounds
            .iter()
            .enumerate()
            .filter(|&(round, _)| in_half(round))
            .filter_map(|(_, value)| *value)
            .collect();
        Some((index, median(&values)?))
    });
    medians.min_by(|left, right| left.1.total_cmp(&right.1)).map(|(index, _)| index)
}

/// The median over rounds of `own` to the best peer, where each round is compared with the peer that won the
/// *other* half: a peer that was lucky in a round does not become its yardstick.
pub fn ratio_to_best(own: &Rounds, peers: &[Rounds]) -> Option<Ratio> {
    let best = best_of_halves(peers)?;
    let ratios: Vec<f64> = own
        .iter()
        .enumerate()
        .filter_map(|(round, value)| {
            let yardstick = (*peers[best[(round + 1) % 2]].get(round)?)?;
            Some((*value)? / yardstick)
        })
        .collect();
    median_with_noise(&ratios)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn count_of(values: &[f64]) -> f64 {
    count_f64(values.len())
}

/// A count as a floating-point number; counts here are far below 2^32.
fn count_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: &[f64]) -> Rounds {
        values.iter().copied().map(Some).collect()
    }

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn geometric_mean_of_opposite_ratios_is_one() {
        let mean = geometric_mean(&[0.5, 2.0, 4.0, 0.25]).unwrap();
        assert!((mean - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[]), None);
    }

    #[test]
    fn nine_values_lose_one_at_each_end() {
        // The classical table: n = 6 to 8 keep all, 9 to 11 lose one, 12 to 14 two.
        assert_eq!([3, 5, 6, 8, 9, 11, 12, 14].map(values_cut), [0, 0, 0, 0, 1, 1, 2, 2]);
        let ratio = median_with_noise(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.1, 9.0]).unwrap();
        assert!((ratio.noise - 0.1).abs() < 1e-12, "{ratio:?}");
    }

    #[test]
    fn few_values_are_noisier_than_their_range() {
        let ratio = median_with_noise(&[0.9, 1.0, 1.1]).unwrap();
        assert!((ratio.noise - 0.294).abs() < 1e-12, "{ratio:?}");
        assert_eq!(median_with_noise(&[1.0]).unwrap().noise, f64::INFINITY);
        assert_eq!(median_with_noise(&[]), None);
    }

    #[test]
    fn the_best_peer_of_a_half_is_judged_on_the_other() {
        // The second peer wins the even rounds by luck, the first the odd ones.
        let peers = [rounds(&[10.0, 10.0, 10.0, 10.0]), rounds(&[5.0, 20.0, 5.0, 20.0])];
        assert_eq!(best_of_halves(&peers), Some([1, 0]));
        let own = rounds(&[10.0, 10.0, 10.0, 10.0]);
        // Even rounds against the winner of the odd ones: 1.0; odd rounds against the other: 0.5.
        assert_eq!(ratio_to_best(&own, &peers).unwrap().value, 0.75);
    }

    #[test]
    fn failed_rounds_are_left_out() {
        let peers = [vec![Some(2.0), None, Some(2.0)], rounds(&[3.0, 3.0, 3.0])];
        let own = vec![Some(4.0), Some(3.0), None];
        assert_eq!(best_of_halves(&peers), Some([0, 1]));
        let ratio = ratio_to_best(&own, &peers).unwrap();
        assert!(ratio.value > 1.0);
        assert_eq!(ratio_to_best(&own, &[]), None);
    }

    #[test]
    fn one_round_is_both_halves() {
        let ratio = ratio_to_best(&rounds(&[3.0]), &[rounds(&[2.0])]).unwrap();
        assert_eq!(ratio, Ratio { value: 1.5, noise: f64::INFINITY });
    }
}
